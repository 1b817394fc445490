#include "backend/cpu/linear/tables.h"

namespace tokamak {

const LinearKernels* linear_kernels_avx2(DType weight, LinearMath math) {
  if (math == LinearMath::f32) return float_kernels_for(weight);
  return math == LinearMath::int8 ? int8_kernels_for(weight) : nullptr;
}

}  // namespace tokamak
