// The blocks that work on one row together: a thread block cluster where the device has them, else
// a single block. They see each other's shared memory.
#pragma once
#include <cuda_runtime.h>

#include <cstdint>

#include "backend/cuda/kernels/cluster.cuh"

namespace tokamak::cuda {

template <bool kCluster>
struct Team;

template <>
struct Team<false> {
  __device__ int size() const { return 1; }
  __device__ int rank() const { return 0; }
  __device__ void sync() const { __syncthreads(); }
  // The same variable in shared memory of the block `rank`.
  template <typename T>
  __device__ T* of(int, T* p) const {
    return p;
  }
};

template <>
struct Team<true> {
  __device__ int size() const { return static_cast<int>(cluster_blocks()); }
  __device__ int rank() const { return static_cast<int>(cluster_rank()); }
  // All threads of all blocks, those of a warp perhaps one after another; what they wrote before it
  // is seen after it.
  __device__ void sync() const {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
    asm volatile("barrier.cluster.arrive.release;\nbarrier.cluster.wait.acquire;" ::: "memory");
#else
    __trap();  // never launched there
#endif
  }
  template <typename T>
  __device__ T* of(int rank, T* p) const {
    return in_block(static_cast<uint32_t>(rank), p);
  }
};

}  // namespace tokamak::cuda
