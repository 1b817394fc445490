// linear and linear_glu of float16 and bfloat16 weights for few tokens, at the memory's speed.
#pragma once
#include "backend/cuda/cuda_tactic.h"

namespace tokamak {

void add_skinny_linear(CudaRegistry& r);

}  // namespace tokamak
