// The AMX kernels over emulated tile registers: only tests call them.
#define TOKAMAK_EMULATE_TILES
#include "backend/cpu/linear/amx_gemm.h"

namespace tokamak {

const AmxLinearKernels* emulated_amx_linear_kernels(DType weight) { return kernels_for(weight); }

}  // namespace tokamak
