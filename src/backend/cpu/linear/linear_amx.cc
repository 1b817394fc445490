#include "backend/cpu/linear/amx_gemm.h"

namespace tokamak {

const AmxLinearKernels* amx_linear_kernels(DType weight) { return kernels_for(weight); }

}  // namespace tokamak
