// linear and linear_glu of up to 128 tokens at the memory's speed (kernels/strip_linear.h): 16-bit
// weights with activations of their dtype ("linear.strips"), FP8 weights with activations rounded
// to FP8 ("linear.f8.strips").
#pragma once
#include "backend/cuda/cuda_tactic.h"

namespace tokamak {

void add_strip_linear(CudaRegistry& r);

}  // namespace tokamak
