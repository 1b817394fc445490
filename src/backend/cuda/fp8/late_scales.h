// FP8 products whose scales are applied afterwards: cuBLASLt has more algorithms for products
// without scales, and can do the two of linear_glu, which need a kernel behind them anyway, at
// once.
#pragma once
#include "backend/cuda/cuda_tactic.h"

namespace tokamak {

void add_f8_late_scales(CudaRegistry& registry);

}  // namespace tokamak
