// linear and linear_glu of many tokens (kernels/tile_linear.h): 16-bit weights with activations of
// their dtype ("linear.tiles"), FP8 weights with activations rounded to FP8 ("linear.f8.tiles").
#pragma once
#include "backend/cuda/cuda_tactic.h"

namespace tokamak {

void add_tile_linear(CudaRegistry& r);

}  // namespace tokamak
