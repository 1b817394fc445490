// The AMX kernels in int8 over emulated tile registers: only tests call them.
#define TOKAMAK_EMULATE_TILES
#include "backend/cpu/linear/amx_int8.h"

namespace tokamak {

const AmxLinearKernels* emulated_amx_int8_linear_kernels(DType weight) {
  return int8_kernels_for(weight);
}

}  // namespace tokamak
