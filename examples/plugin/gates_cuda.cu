/* relu2_gate on CUDA devices. */
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdio>

#include "gates.h"

template <typename T>
__global__ void relu2_gate(float scale, tokamak_operand a, tokamak_operand b, tokamak_operand y) {
  const int64_t n = y.rows * y.width;
  for (int64_t i = blockIdx.x * int64_t{blockDim.x} + threadIdx.x; i < n;
       i += gridDim.x * int64_t{blockDim.x}) {
    const int64_t r = i / y.width, c = i % y.width;
    const float v = static_cast<float>(static_cast<const T*>(a.data)[r * a.stride + c]);
    const float x = v < 0 ? 0 : v;
    static_cast<T*>(y.data)[r * y.stride + c] = static_cast<T>(
        scale * x * x * static_cast<float>(static_cast<const T*>(b.data)[r * b.stride + c]));
  }
}

template <typename T>
static void start(const void* op, const tokamak_launch* l, cudaStream_t stream) {
  constexpr int kThreads = 256, kMostBlocks = 4096;
  const int64_t blocks = (l->out[0].rows * l->out[0].width + kThreads - 1) / kThreads;
  if (blocks == 0) return;
  relu2_gate<T>
      <<<static_cast<unsigned>(blocks < kMostBlocks ? blocks : kMostBlocks), kThreads, 0, stream>>>(
          static_cast<const gate*>(op)->scale, l->in[0], l->in[1], l->out[0]);
}

extern "C" int32_t gates_run_cuda(const void* op, const tokamak_launch* l, void* stream,
                                  tokamak_error* error) {
  const auto s = static_cast<cudaStream_t>(stream);
  switch (l->out[0].dtype) {
    case TOKAMAK_F32:
      start<float>(op, l, s);
      break;
    case TOKAMAK_F16:
      start<__half>(op, l, s);
      break;
    default:
      start<__nv_bfloat16>(op, l, s);
  }
  const cudaError_t status = cudaPeekAtLastError();
  if (status == cudaSuccess) return 0;
  std::snprintf(error->text, sizeof error->text, "%s", cudaGetErrorString(status));
  return -1;
}
