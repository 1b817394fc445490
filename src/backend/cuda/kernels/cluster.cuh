// Clusters of thread blocks (sm_90): where they meet, and each other's shared memory. For less than
// sm_90 it compiles, and a block is alone.
#pragma once
#include <cstdint>

namespace tokamak::cuda {

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900

__device__ inline uint32_t cluster_rank() {
  uint32_t rank;
  asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}
__device__ inline uint32_t cluster_blocks() {
  uint32_t blocks;
  asm("mov.u32 %0, %%cluster_nctarank;" : "=r"(blocks));
  return blocks;
}
// By whole warps. What threads wrote before they arrived is seen by those that have waited.
__device__ inline void cluster_arrive() {
  asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
}
__device__ inline void cluster_wait() {
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
}
// Where that block has what lies at p in this one's shared memory.
template <typename T>
__device__ inline T* in_block(uint32_t rank, T* p) {
  uint64_t mapped;
  asm("mapa.u64 %0, %1, %2;" : "=l"(mapped) : "l"(p), "r"(rank));
  return reinterpret_cast<T*>(mapped);
}
template <typename T>
__device__ inline T* in_first_block(T* p) {
  T* first;
  asm volatile("mapa.u64 %0, %1, 0;" : "=l"(first) : "l"(p));
  return first;
}

#else

__device__ inline uint32_t cluster_rank() { return 0; }
__device__ inline uint32_t cluster_blocks() { return 1; }
__device__ inline void cluster_arrive() {}
__device__ inline void cluster_wait() {}
template <typename T>
__device__ inline T* in_block(uint32_t, T* p) {
  return p;
}
template <typename T>
__device__ inline T* in_first_block(T* p) {
  return p;
}

#endif

__device__ inline void cluster_sync() {
  cluster_arrive();
  cluster_wait();
}

}  // namespace tokamak::cuda
