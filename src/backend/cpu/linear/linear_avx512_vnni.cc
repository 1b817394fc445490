#include "backend/cpu/linear/tables.h"

namespace tokamak {

const LinearKernels* linear_kernels_avx512_vnni(DType weight, LinearMath math) {
  return math == LinearMath::int8 ? int8_kernels_for(weight) : nullptr;
}

}  // namespace tokamak
