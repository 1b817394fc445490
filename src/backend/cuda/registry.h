// The explicit list of what the CUDA backend offers.
#pragma once
#include "backend/cuda/cuda_tactic.h"

namespace tokamak {

CudaRegistry make_cuda_registry(const CudaTarget& target, bool offline);

}  // namespace tokamak
