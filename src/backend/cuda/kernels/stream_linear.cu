// Sizes of the streaming linear kernel, the way to its instances, and what lies around it:
// splitting of float32 rows, unpacking of weights.
#include "backend/cuda/kernels/any.cuh"
#include "backend/cuda/kernels/launch.cuh"
#include "backend/cuda/kernels/stream_linear.h"

namespace tokamak::cuda {

void stream_half(const StreamArg& a, cudaStream_t stream);
void stream_int8(const StreamArg& a, cudaStream_t stream);
void stream_int8_min(const StreamArg& a, cudaStream_t stream);
void stream_int8_small(const StreamArg& a, cudaStream_t stream);
void stream_int8_small_min(const StreamArg& a, cudaStream_t stream);
void stream_int4(const StreamArg& a, cudaStream_t stream);
void stream_int4_min(const StreamArg& a, cudaStream_t stream);
void stream_int4_small(const StreamArg& a, cudaStream_t stream);
void stream_int4_small_min(const StreamArg& a, cudaStream_t stream);

namespace {

constexpr int64_t kLeastSteps = 2;  // of a block

__global__ void split_kernel(RowsArg x, __nv_bfloat16* y, int64_t stride) {
  wait_for_previous();
  let_next_start();
  const int64_t row = blockIdx.y, i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= x.width) return;
  const float v = static_cast<const float*>(x.data)[row * x.stride + i];
  const __nv_bfloat16 high = __float2bfloat16_rn(v);
  y[2 * row * stride + i] = high;
  const float rest = v - __bfloat162float(high);
  y[(2 * row + 1) * stride + i] = __float2bfloat16_rn(isfinite(v) ? rest : 0.f);
}

// Columns column … column + 15 of a row.
__host__ __device__ inline void unpack_columns(const uint8_t* packed, const StreamFormat& f,
                                               int64_t row, int64_t column, int64_t k,
                                               float (&values)[16]) {
  const int r = static_cast<int>(row % StreamFormat::kRows);
  const int c = static_cast<int>(column % StreamFormat::kColumns);
  const uint8_t* tile = packed + row / StreamFormat::kRows * f.tile_bytes(k);
  const uint8_t* block = tile + column / StreamFormat::kColumns * f.block_bytes();
  const uint8_t* unit = block + r / StreamFormat::kUnitRows * f.unit_bytes();
  float d, m = 0;
  if (f.group == 0) {
    const auto* scales = reinterpret_cast<const float*>(tile + f.blocks(k) * f.block_bytes());
    d = scales[r];
  } else {
    const auto* scales = reinterpret_cast<const __half*>(block + f.code_bytes()) +
                         c / f.group * f.scale_planes() * StreamFormat::kRows;
    d = __half2float(scales[r]);
    if (f.has_min) m = __half2float(scales[StreamFormat::kRows + r]);
  }
  const float less = f.has_min ? 0.f : f.bits == 8 ? 128.f : 8.f;
#pragma unroll
  for (int t = 0; t < 4; ++t) {  // columns 2t, 2t + 1, 2t + 8, 2t + 9
    uint32_t q[4];
    if (f.bits == 8) {
      const auto w = *reinterpret_cast<const uint32_t*>(unit + StreamFormat::byte_of(r, c + 2 * t));
      for (int i = 0; i < 4; ++i) q[i] = w >> 8 * i & 255;
    } else {
      const int nibble = StreamFormat::nibble_of(r, c + 2 * t);
      const auto w = *reinterpret_cast<const uint32_t*>(unit + nibble / 8 * 4) >> nibble % 8 * 4;
      q[0] = w & 15;
      q[1] = w >> 16 & 15;
      q[2] = w >> 4 & 15;
      q[3] = w >> 20 & 15;
    }
#pragma unroll
    for (int i = 0; i < 4; ++i)
      values[2 * t + i % 2 + i / 2 * 8] = d * (static_cast<float>(q[i]) - less) + m;
  }
}

// A thread per row and 16 columns.
template <typename E>
__global__ void unpack_kernel(const uint8_t* packed, StreamFormat f, int64_t begin, int64_t end,
                              int64_t k, E* y) {
  const int64_t row = begin + blockIdx.x;
  const int64_t column = (int64_t{blockIdx.y} * blockDim.x + threadIdx.x) * 16;
  if (row >= end || column >= k) return;
  float values[16];
  unpack_columns(packed, f, row, column, k, values);
  alignas(16) E rounded[16];
#pragma unroll
  for (int i = 0; i < 16; ++i) rounded[i] = static_cast<E>(values[i]);
  E* to = y + (row - begin) * k + column;
  if (k % 8 == 0 && column + 16 <= k) {
    reinterpret_cast<uint4*>(to)[0] = reinterpret_cast<const uint4*>(rounded)[0];
    reinterpret_cast<uint4*>(to)[1] = reinterpret_cast<const uint4*>(rounded)[1];
  } else {
    for (int i = 0; i < 16 && column + i < k; ++i) to[i] = rounded[i];
  }
}

}  // namespace

int stream_box(int columns) {
  return columns <= 8 ? 8 : columns <= 16 ? 16 : columns <= 32 ? 32 : kStreamTokens;
}
int64_t stream_tiles(int64_t n, int weights) {
  const int64_t rows = kStreamTileRows / weights;
  return (n + rows - 1) / rows;
}
int stream_blocks(int multiprocessors, int bits, int weights, int64_t n, int64_t k) {
  const int64_t step = stream_step(bits);
  const int64_t total = stream_tiles(n, weights) * ((k + step - 1) / step);
  const int64_t most = (total + kLeastSteps - 1) / kLeastSteps;
  return static_cast<int>(most < multiprocessors ? most : multiprocessors);
}
size_t stream_partial_bytes(int blocks, int box) {
  return size_t{1} * blocks * box * kStreamTileRows * sizeof(float);
}

void stream_linear(StreamArg a, cudaStream_t stream) {
  if (a.columns == 0) return;
  if (a.format.bits == 16) return stream_half(a, stream);
  const bool small = a.format.group == 32, min = a.format.has_min;
  const auto launch = a.format.bits == 8
                          ? (small ? (min ? stream_int8_small_min : stream_int8_small)
                                   : (min ? stream_int8_min : stream_int8))
                          : (small ? (min ? stream_int4_small_min : stream_int4_small)
                                   : (min ? stream_int4_min : stream_int4));
  launch(a, stream);
}

void split_rows(RowsArg x, void* y, int64_t stride, cudaStream_t stream) {
  if (x.rows == 0) return;
  const dim3 grid(static_cast<unsigned>((x.width + 255) / 256), static_cast<unsigned>(x.rows));
  launch_overlapped(split_kernel, grid, dim3(256), 0, stream, x, static_cast<__nv_bfloat16*>(y),
                    stride);
}

void stream_unpack(const uint8_t* packed, StreamFormat format, int64_t begin, int64_t end,
                   int64_t k, DType dtype, void* y, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(end - begin), static_cast<unsigned>((k + 2047) / 2048));
  if (dtype == DType::bf16)
    unpack_kernel<<<grid, 128, 0, stream>>>(packed, format, begin, end, k,
                                            static_cast<__nv_bfloat16*>(y));
  else
    unpack_kernel<<<grid, 128, 0, stream>>>(packed, format, begin, end, k, static_cast<__half*>(y));
}

}  // namespace tokamak::cuda
