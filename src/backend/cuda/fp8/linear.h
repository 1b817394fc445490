// linear and linear_glu of FP8 weights whose activations may be rounded to FP8, a scale per token:
// cuBLASLt in between kernels that quantize and finish.
#pragma once
#include "backend/cuda/cuda_tactic.h"

namespace tokamak {

void add_f8_linear(CudaRegistry& r);

}  // namespace tokamak
