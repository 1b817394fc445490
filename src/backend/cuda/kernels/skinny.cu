// A block owns 16 outputs (of each weight) and up to 64 tokens; its warps share out the inputs in
// chunks of 128 and add their sums at the end, always in the same order, whatever the tokens.
// A fragment of mma.m16n8k16 wants pairs of inputs from four places of a row. Which inputs meet in
// one product is free as long as weights and activations agree: so a lane takes 8 neighbours, one
// load of 16 bytes, and feeds two products with them.
#include "backend/cuda/kernels/activate.cuh"
#include "backend/cuda/kernels/any.cuh"
#include "backend/cuda/kernels/mma.cuh"
#include "backend/cuda/kernels/skinny.h"

namespace tokamak::cuda {
namespace {

constexpr int kWarps = 8, kRows = 16, kUnroll = kSkinnyStep / 32, kMaxTiles = 8;

__device__ inline uint4 stream_load(const uint4* p) {  // read once: past the first cache
  uint4 v;
  asm volatile("ld.global.nc.L1::no_allocate.L2::256B.v4.u32 {%0,%1,%2,%3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(p));
  return v;
}

// E: element; NT: tiles of 8 tokens; W: weights.
template <typename E, int NT, int W>
__global__ __launch_bounds__(kWarps * 32) void skinny_kernel(SkinnyArg a) {
  extern __shared__ float sums[];  // [kWarps][W][NT * 8 tokens][kRows]
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
  const int64_t n0 = int64_t{blockIdx.x} * kRows, first = int64_t{blockIdx.y} * kMaxTiles * 8;
  const E* rows[W][2];
  for (int w = 0; w < W; ++w)
    for (int h = 0; h < 2; ++h) {
      const int64_t row = n0 + g + 8 * h < a.n ? n0 + g + 8 * h : a.n - 1;
      rows[w][h] = static_cast<const E*>(w == 0 ? a.w : a.w_b) + row * a.k + 8 * t;
    }
  const E* tokens[NT];
  for (int i = 0; i < NT; ++i) {
    const int64_t token = first + 8 * i + g < a.tokens ? first + 8 * i + g : a.tokens - 1;
    tokens[i] = static_cast<const E*>(a.x) + token * a.x_stride + 8 * t;
  }
  float c[W][NT][4] = {};
  for (int64_t k = int64_t{warp} * kSkinnyStep; k < a.k; k += kWarps * kSkinnyStep) {
    uint4 wv[kUnroll][W][2];
#pragma unroll
    for (int u = 0; u < kUnroll; ++u)
#pragma unroll
      for (int w = 0; w < W; ++w)
#pragma unroll
        for (int h = 0; h < 2; ++h)
          wv[u][w][h] = stream_load(reinterpret_cast<const uint4*>(rows[w][h] + k + 32 * u));
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) {
#pragma unroll
      for (int i = 0; i < NT; ++i) {
        const uint4 x = *reinterpret_cast<const uint4*>(tokens[i] + k + 32 * u);
#pragma unroll
        for (int w = 0; w < W; ++w) {
          const uint4 lo = wv[u][w][0], hi = wv[u][w][1];
          mma<__is_same(E, __nv_bfloat16)>(c[w][i], lo.x, hi.x, lo.y, hi.y, x.x, x.y);
          mma<__is_same(E, __nv_bfloat16)>(c[w][i], lo.z, hi.z, lo.w, hi.w, x.z, x.w);
        }
      }
    }
  }
  for (int w = 0; w < W; ++w)
    for (int i = 0; i < NT; ++i)
      for (int j = 0; j < 4; ++j) {
        const int token = 8 * i + 2 * t + j % 2, row = g + j / 2 * 8;
        sums[((warp * W + w) * NT * 8 + token) * kRows + row] = c[w][i][j];
      }
  __syncthreads();
  for (int e = threadIdx.x; e < NT * 8 * kRows; e += kWarps * 32) {
    const int64_t token = first + e / kRows, n = n0 + e % kRows;
    if (token >= a.tokens || n >= a.n) continue;
    float v[W];
    for (int w = 0; w < W; ++w) {
      v[w] = 0;
      for (int p = 0; p < kWarps; ++p) v[w] += sums[(p * W + w) * NT * 8 * kRows + e];
    }
    if (a.bias.data) v[0] += at(a.bias, 0, n);
    float y = apply(a.activation, v[0]);
    if constexpr (W == 2) y *= v[1] + (a.bias_b.data ? at(a.bias_b, 0, n) : 0.f);
    if (a.residual.data) y += at(a.residual, token, n);
    put(a.y, token, n, y);
  }
}

template <typename E, int NT, int W>
void launch(const SkinnyArg& a, cudaStream_t stream) {
  constexpr size_t kShared = sizeof(float) * kWarps * W * NT * 8 * kRows;
  if constexpr (kShared > (48 << 10))
    cudaFuncSetAttribute(skinny_kernel<E, NT, W>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                         static_cast<int>(kShared));
  const dim3 grid(static_cast<unsigned>((a.n + kRows - 1) / kRows),
                  static_cast<unsigned>((a.tokens + kMaxTiles * 8 - 1) / (kMaxTiles * 8)));
  skinny_kernel<E, NT, W><<<grid, kWarps * 32, kShared, stream>>>(a);
}

template <typename E, int W>
void by_tokens(const SkinnyArg& a, cudaStream_t stream) {
  if (a.tokens <= 8) return launch<E, 1, W>(a, stream);
  if (a.tokens <= 16) return launch<E, 2, W>(a, stream);
  if (a.tokens <= 32) return launch<E, 4, W>(a, stream);
  launch<E, kMaxTiles, W>(a, stream);
}

template <typename E>
void by_weights(const SkinnyArg& a, cudaStream_t stream) {
  if (a.w_b)
    by_tokens<E, 2>(a, stream);
  else
    by_tokens<E, 1>(a, stream);
}

}  // namespace

void skinny_linear(const SkinnyArg& a, cudaStream_t stream) {
  if (a.tokens == 0) return;
  if (a.dtype == DType::bf16)
    by_weights<__nv_bfloat16>(a, stream);
  else
    by_weights<__half>(a, stream);
}

}  // namespace tokamak::cuda
