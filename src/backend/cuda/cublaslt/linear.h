// linear and linear_glu of float weights by cuBLASLt: its first proposals as tactics that compete.
#pragma once
#include "backend/cuda/cuda_tactic.h"

namespace tokamak {

void add_cublaslt_linear(CudaRegistry& r);

}  // namespace tokamak
