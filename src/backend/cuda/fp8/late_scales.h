// FP8 products of linear_glu whose scales are applied afterwards, by the kernel that comes behind
// them anyway: cuBLASLt has more algorithms for products without scales, and does both at once.
#pragma once
#include "backend/cuda/cuda_tactic.h"

namespace tokamak {

void add_f8_late_scales(CudaRegistry& registry);

}  // namespace tokamak
