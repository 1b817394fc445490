// Copies of 16 bytes from device to shared memory, each by the thread that asks for it (sm_80).
#pragma once
#include "backend/cuda/kernels/shared_address.cuh"

namespace tokamak::cuda {

// Zeros where not `valid`.
__device__ inline void copy16_async(uint32_t to, const void* from, bool valid) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from),
               "r"(valid ? 16 : 0)
               : "memory");
}
__device__ inline void copy16_async(void* to, const void* from, bool valid) {
  copy16_async(shared_address(to), from, valid);
}
// Of what is read in order: 256 bytes come to the second cache.
__device__ inline void copy16_ahead(uint32_t to, const void* from) {
  asm volatile("cp.async.cg.shared.global.L2::256B [%0], [%1], 16;" ::"r"(to), "l"(from)
               : "memory");
}
__device__ inline void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int N>  // groups that may still be on their way
__device__ inline void wait_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

}  // namespace tokamak::cuda
