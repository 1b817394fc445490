// linear and linear_glu of FP8 weights for few tokens at the memory's speed (sm_90), activations of
// 16 bits or rounded to FP8 with a scale per token.
#pragma once
#include "backend/cuda/cuda_tactic.h"

namespace tokamak {

void add_f8_stream(CudaRegistry& r);

}  // namespace tokamak
