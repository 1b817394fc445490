#include "backend/cpu/linear/tables.h"

namespace tokamak {

const LinearKernels* linear_kernels_avx512_vnni(DType weight, LinearMath math) {
  return integer_kernels_for(weight, math);
}

}  // namespace tokamak
