// The device's sampler; it enqueues on the given stream.
#pragma once
#include <cuda_runtime_api.h>

#include <memory>

#include "backend/device_sampling.h"

namespace tokamak {

std::unique_ptr<DeviceSampler> make_cuda_sampler(cudaStream_t stream);

}  // namespace tokamak
