// A block of threads per token, part and range of columns: A x into shared memory, each warp some
// rows; then a thread a column of B. Blocks of the same token and part repeat the first product.
#include "backend/cuda/kernels/any.cuh"
#include "backend/cuda/kernels/lora.h"

namespace tokamak::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kColumns = 1024;  // of a block
constexpr int kMostRank = 512;  // ops/lora.h

__global__ void lora_kernel(LoraArg l) {
  __shared__ float h[kMostRank];
  const int64_t token = blockIdx.x;
  const int i = static_cast<int>(blockIdx.y);
  int64_t offset = 0;
  for (int p = 0; p < i; ++p) offset += l.width[p];
  const int64_t begin = int64_t{blockIdx.z} * kColumns;
  const int64_t end = begin + kColumns < l.width[i] ? begin + kColumns : l.width[i];
  if (begin >= end) return;
  const int32_t adapter = l.view.adapters[token];
  const LoraPart part =
      adapter < 0 ? LoraPart{} : l.view.parts[adapter * int64_t{l.view.part_count} + l.part[i]];
  if (part.rank == 0) {
    if (l.out.data == l.y.data) return;
    for (int64_t c = begin + threadIdx.x; c < end; c += kThreads)
      put(l.out, token, offset + c, at(l.y, token, offset + c));
    return;
  }
  const int64_t a_stride = l.a_stride, b_stride = l.b_stride[i];
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  for (int r = warp; r < part.rank; r += kThreads / 32) {
    float sum = 0;
    for (int64_t c = lane; c < l.x.width; c += 32)
      sum += at(l.x, token, c) * load_any(part.dtype, part.a, r * a_stride + c);
    for (int d = 16; d > 0; d /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, d);
    if (lane == 0) h[r] = part.scale * sum;
  }
  __syncthreads();
  for (int64_t c = begin + threadIdx.x; c < end; c += kThreads) {
    float sum = at(l.y, token, offset + c);
    for (int r = 0; r < part.rank; ++r)
      sum += h[r] * load_any(part.dtype, part.b, r * b_stride + c);
    put(l.out, token, offset + c, sum);
  }
}

}  // namespace

void lora(const LoraArg& l, cudaStream_t stream) {
  int widest = 0;
  for (int i = 0; i < l.parts; ++i) widest = l.width[i] > widest ? l.width[i] : widest;
  if (l.y.rows == 0) return;
  const dim3 grid(static_cast<unsigned>(l.y.rows), static_cast<unsigned>(l.parts),
                  static_cast<unsigned>((widest + kColumns - 1) / kColumns));
  lora_kernel<<<grid, kThreads, 0, stream>>>(l);
}

}  // namespace tokamak::cuda
