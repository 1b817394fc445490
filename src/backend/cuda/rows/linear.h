// linear and linear_glu of a few tokens (sm_90): every block of threads owns some rows of the
// weights whole. Weights as the streaming tactics have them.
#pragma once
#include "backend/cuda/cuda_tactic.h"

namespace tokamak {

void add_rows_linear(CudaRegistry& r);

}  // namespace tokamak
