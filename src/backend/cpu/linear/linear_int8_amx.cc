#include "backend/cpu/linear/amx_int8.h"

namespace tokamak {

const AmxLinearKernels* amx_int8_linear_kernels(DType weight) { return int8_kernels_for(weight); }

}  // namespace tokamak
