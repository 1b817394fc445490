// The driver's encoder of tensor maps, without linking the driver.
#pragma once
#include <cuda.h>
#include <cuda_runtime_api.h>

namespace tokamak::cuda {

using TensorMapEncoder = decltype(&cuTensorMapEncodeTiled);

// Null: the driver is older than CUDA 12.
inline TensorMapEncoder tensor_map_encoder() {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found{};
  const cudaError_t status = cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function,
                                                              12000, cudaEnableDefault, &found);
  const bool there = status == cudaSuccess && found == cudaDriverEntryPointSuccess;
  return there ? reinterpret_cast<TensorMapEncoder>(function) : nullptr;
}

}  // namespace tokamak::cuda
