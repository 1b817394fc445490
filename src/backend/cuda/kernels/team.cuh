// The blocks that work on one row together: a thread block cluster where the device has them, else
// a single block. They see each other's shared memory.
#pragma once
#include <cuda_runtime.h>

#include <cstdint>

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
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
  __device__ int size() const {
    uint32_t n;
    asm("mov.u32 %0, %%cluster_nctarank;" : "=r"(n));
    return static_cast<int>(n);
  }
  __device__ int rank() const {
    uint32_t n;
    asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(n));
    return static_cast<int>(n);
  }
  // All threads of all blocks; what they wrote before it is seen after it.
  __device__ void sync() const {
    asm volatile("barrier.cluster.arrive.release;\nbarrier.cluster.wait.acquire;" ::: "memory");
  }
  template <typename T>
  __device__ T* of(int rank, T* p) const {
    uint64_t mapped;
    asm("mapa.u64 %0, %1, %2;" : "=l"(mapped) : "l"(p), "r"(rank));
    return reinterpret_cast<T*>(mapped);
  }
#else  // never launched there
  __device__ int size() const { return 1; }
  __device__ int rank() const { return 0; }
  __device__ void sync() const { __trap(); }
  template <typename T>
  __device__ T* of(int, T* p) const {
    return p;
  }
#endif
};

}  // namespace tokamak::cuda
