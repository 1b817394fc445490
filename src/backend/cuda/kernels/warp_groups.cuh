// Groups of warps of a block that do different things: where they meet, and whose registers are
// whose.
#pragma once
#include <cuda_runtime.h>

namespace tokamak::cuda {

// `threads`: that sync or arrive at this barrier (1 to 15; 0 is __syncthreads()).
__device__ inline void named_sync(int id, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
__device__ inline void named_arrive(int id, int threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
// Of every thread of a group of four warps.
template <int N>
__device__ inline void fewer_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(N));
}
template <int N>
__device__ inline void more_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(N));
}
#endif

}  // namespace tokamak::cuda
