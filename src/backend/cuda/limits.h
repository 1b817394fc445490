// What the device reaches: read bandwidth, float32 and half-precision arithmetic.
#pragma once
#include "backend/cuda/cuda_tactic.h"

namespace tokamak {

DeviceLimits measure_cuda_limits(cudaStream_t stream, const CudaTarget& target);

}  // namespace tokamak
