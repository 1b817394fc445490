// Launches that may begin before the kernel ahead of them has ended (programmatic dependent
// launch). Such a kernel reads nothing that an earlier one writes, and writes nothing that one
// reads, before wait_for_previous(); weights may be fetched ahead of it. let_next_start() says that
// the next kernel may take the room that is free; it is only a hint. A recorded graph keeps this.
#pragma once
#include <cuda_runtime.h>

namespace tokamak::cuda {

__device__ inline void wait_for_previous() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
__device__ inline void let_next_start() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;");
#endif
}

// Shared memory of which a multiprocessor has not twice as much: for kernels with a block for each
// multiprocessor. Otherwise two find room on one where the kernel before left them unequal, another
// one has none, and so it goes on from kernel to kernel. Blocks of the next kernel begin where one
// has ended.
constexpr int kAloneBytes = 115 << 10;

// Every thread block of the kernel must call wait_for_previous(), so that kernels end in order.
// cluster: blocks of a cluster; one: none.
template <typename... Params, typename... Args>
void launch_clustered(void (*kernel)(Params...), dim3 grid, dim3 block, size_t shared_bytes,
                      cudaStream_t stream, dim3 cluster, Args&&... args) {
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream;
  cudaLaunchAttribute attributes[2]{};
  attributes[0].id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attributes[0].val.programmaticStreamSerializationAllowed = 1;
  attributes[1].id = cudaLaunchAttributeClusterDimension;
  attributes[1].val.clusterDim = {cluster.x, cluster.y, cluster.z};
  config.attrs = attributes;
  config.numAttrs = cluster.x * cluster.y * cluster.z > 1 ? 2 : 1;
  cudaLaunchKernelEx(&config, kernel, static_cast<Params>(args)...);  // the caller reads the error
}
template <typename... Params, typename... Args>
void launch_overlapped(void (*kernel)(Params...), dim3 grid, dim3 block, size_t shared_bytes,
                       cudaStream_t stream, Args&&... args) {
  launch_clustered(kernel, grid, block, shared_bytes, stream, dim3(1), args...);
}

}  // namespace tokamak::cuda
