// linear and linear_glu of weights in the layout "cuda.stream" for many tokens: unpacked to 16
// bits, a part at a time, and multiplied by cuBLASLt.
#pragma once
#include "backend/cuda/cuda_tactic.h"

namespace tokamak {

void add_unpacked_linear(CudaRegistry& r);

}  // namespace tokamak
