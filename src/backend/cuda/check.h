// CUDA calls are checked at the call: an error becomes an Error that names the call.
#pragma once
#include <cuda_runtime_api.h>

#include "base/error.h"

namespace tokamak {

inline void cuda_check(cudaError_t status, const char* call) {
  if (status != cudaSuccess)
    fail("{} failed: {} ({})", call, cudaGetErrorString(status), cudaGetErrorName(status));
}
#define TOKAMAK_CUDA(call) ::tokamak::cuda_check((call), #call)

}  // namespace tokamak
