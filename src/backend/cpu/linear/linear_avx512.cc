#include "backend/cpu/linear/tables.h"

namespace tokamak {

const LinearKernels* linear_kernels_avx512(DType weight, LinearMath math) {
  if (math == LinearMath::f32) return float_kernels_for(weight);
  return integer_kernels_for(weight, math);
}

}  // namespace tokamak
