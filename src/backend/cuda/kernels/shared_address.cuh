// Where something lies in shared memory, as instructions name it.
#pragma once
#include <cstdint>

namespace tokamak::cuda {

__device__ inline uint32_t shared_address(const void* p) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}

}  // namespace tokamak::cuda
