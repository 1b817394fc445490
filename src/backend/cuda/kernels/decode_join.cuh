// How the decode kernel's warps and blocks, each with a part of the context, put their outputs
// together: a row of a part is HD outputs, their maximum and their sum.
#pragma once
#include "backend/cuda/kernels/decode_work.cuh"
#include "backend/cuda/kernels/launch.cuh"

namespace tokamak::cuda {
namespace {

// Outputs d … d + 3 of `count` rows that lie `stride` apart, with their maximum and sum.
template <int HD, int MOST>
__device__ inline float4 join(const float* from, int64_t stride, int count, int d, float& most,
                              float& sum) {
  float2 ends[MOST];
  float4 v[MOST];
  most = -INFINITY;
#pragma unroll
  for (int p = 0; p < MOST; ++p) {
    if (p >= count) break;
    ends[p] = *reinterpret_cast<const float2*>(from + p * stride + HD);
    v[p] = *reinterpret_cast<const float4*>(from + p * stride + d);
    most = fmaxf(most, ends[p].x);
  }
  const float base = most == -INFINITY ? 0.f : most;
  float4 out{0, 0, 0, 0};
  sum = 0;
#pragma unroll
  for (int p = 0; p < MOST; ++p) {
    if (p >= count) break;
    const float weight = exp2_fast(ends[p].x - base);
    sum = fmaf(ends[p].y, weight, sum);
    out.x = fmaf(v[p].x, weight, out.x);
    out.y = fmaf(v[p].y, weight, out.y);
    out.z = fmaf(v[p].z, weight, out.z);
    out.w = fmaf(v[p].w, weight, out.w);
  }
  return out;
}
// Parts in memory to the output: block (unit, row, row tile), four warps that share the parts.
template <int HD, int NT>
__global__ __launch_bounds__(kThreads) void join_kernel(const __grid_constant__ AttentionArg a,
                                                        const __grid_constant__ StepArg step,
                                                        const __grid_constant__ DecodeSplit s) {
  constexpr int kRows = 8 * NT, kStride = kRows * (HD + 4), kMost = 8;
  __shared__ float outs[kWarps][HD], ends[kWarps][2];
  let_next_start();
  const int seq = static_cast<int>(blockIdx.x) / a.kv_heads,
            kv_head = static_cast<int>(blockIdx.x) % a.kv_heads, group = a.heads / a.kv_heads;
  const int r = static_cast<int>(blockIdx.y), row = static_cast<int>(blockIdx.z) * kRows + r;
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const int64_t unit = int64_t{blockIdx.z} * gridDim.x + blockIdx.x;
  const float* from = s.partial + (unit * s.parts * kRows + r) * (HD + 4);
  wait_for_previous();
  const Numbers n = read_numbers(step, seq);
  if (n.queries() <= 0 || !is_decode(n.queries(), group) || row >= n.queries() * group) return;
  float most = -INFINITY, sum = 0, out[HD / 32] = {};
  for (int p0 = warp; p0 < s.parts; p0 += kWarps * kMost) {
    float max[kMost], total[kMost], v[kMost][HD / 32];
    float m = most;
#pragma unroll
    for (int i = 0; i < kMost; ++i) {
      const int p = min(p0 + i * kWarps, s.parts - 1);
      const float* f = from + int64_t{p} * kStride;
      max[i] = p0 + i * kWarps < s.parts ? __ldcg(f + HD) : -INFINITY;
      total[i] = __ldcg(f + HD + 1);
#pragma unroll
      for (int d = 0; d < HD / 32; ++d) v[i][d] = __ldcg(f + lane + 32 * d);
      m = fmaxf(m, max[i]);
    }
    const float base = m == -INFINITY ? 0.f : m, shrink = exp2_fast(most - base);
    sum *= shrink;
#pragma unroll
    for (int d = 0; d < HD / 32; ++d) out[d] *= shrink;
#pragma unroll
    for (int i = 0; i < kMost; ++i) {
      const float weight = exp2_fast(max[i] - base);
      sum = fmaf(total[i], weight, sum);
#pragma unroll
      for (int d = 0; d < HD / 32; ++d) out[d] = fmaf(v[i][d], weight, out[d]);
    }
    most = m;
  }
#pragma unroll
  for (int d = 0; d < HD / 32; ++d) outs[warp][lane + 32 * d] = out[d];
  if (lane == 0) ends[warp][0] = most, ends[warp][1] = sum;
  __syncthreads();
  for (int d = threadIdx.x; d < a.head_dim; d += kThreads) {
    float m = -INFINITY, value = 0;
    sum = 0;
    for (int w = 0; w < kWarps; ++w) m = fmaxf(m, ends[w][0]);
    for (int w = 0; w < kWarps; ++w) {
      const float weight = exp2_fast(ends[w][0] - m);
      sum = fmaf(ends[w][1], weight, sum);
      value = fmaf(outs[w][d], weight, value);
    }
    store_activation(
        a.y.dtype, a.y.data,
        (n.begin + row / group) * a.y.stride + (kv_head * group + row % group) * a.head_dim + d,
        value / sum * a.v_scale);
  }
}

}  // namespace
}  // namespace tokamak::cuda
