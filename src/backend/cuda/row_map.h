// How a broadcast operand meets the rows of a result: right-aligned; size 1 stretches.
#pragma once
#include "backend/cuda/cuda_tactic.h"
#include "backend/cuda/kernels/reference.h"

namespace tokamak {

cuda::RowMap row_map(const SymShape& from, const SymShape& result, const StepContext& step);

}  // namespace tokamak
