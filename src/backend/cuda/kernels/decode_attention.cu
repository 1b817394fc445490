// A block owns one KV head of one sequence and one part of its context. Its warps walk the part's
// keys; a key lies across HD / 8 lanes, 16 bytes each, so a warp reads several keys at a time. Each
// lane group keeps a running maximum, sum and output for every query row; groups, warps and parts
// are joined at the end, in that order. The last block to finish a sequence's head joins its parts.
#include "backend/cuda/kernels/any.cuh"
#include "backend/cuda/kernels/decode_attention.h"
#include "backend/cuda/kernels/rotate.cuh"

namespace tokamak::cuda {
namespace {

constexpr int kWarps = 4, kThreads = kWarps * 32, kUnroll = 2;

__device__ inline void widen(uint4 v, DType t, float (&out)[8]) {
  const uint32_t w[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if (t == DType::bf16) {
      out[2 * i] = __uint_as_float(w[i] << 16);
      out[2 * i + 1] = __uint_as_float(w[i] & 0xffff0000u);
    } else {
      const float2 f = __half22float2(*reinterpret_cast<const __half2*>(&w[i]));
      out[2 * i] = f.x;
      out[2 * i + 1] = f.y;
    }
  }
}

// A head of q or k, normed and turned, in shared memory; `scratch` is as large.
__device__ void load_head(const AttentionArg& a, const RowsArg& x, const RowsArg& weight, int64_t t,
                          int head, int64_t length, float* scratch, float* out, float* shared) {
  float square = 0;
  for (int i = threadIdx.x; i < a.head_dim; i += kThreads) {
    scratch[i] = at(x, t, int64_t{head} * a.head_dim + i);
    square += scratch[i] * scratch[i];
  }
  if (a.qk_norm) {
    const float mean = block_sum(square, shared) / static_cast<float>(a.head_dim);
    const float scale = 1 / sqrtf(mean + a.qk_eps);
    for (int i = threadIdx.x; i < a.head_dim; i += kThreads) scratch[i] *= scale * at(weight, 0, i);
  }
  __syncthreads();
  for (int i = threadIdx.x; i < a.head_dim; i += kThreads)
    out[i] = a.has_rope ? turned(a.rope, scratch, length, a.positions[t], i) : scratch[i];
  __syncthreads();
}

struct Place {
  const AttentionArg& a;
  const StepArg& step;
  int seq, kv_head;
  __device__ int64_t row(int64_t j) const {
    const int64_t block =
        step.block_table[int64_t{seq} * step.block_table_stride + j / a.block_size];
    return (block * a.kv_heads + kv_head) * a.block_size + j % a.block_size;
  }
};

// HD: head size; R: query rows.
template <int HD, int R>
__global__ __launch_bounds__(kThreads) void decode_kernel(AttentionArg a, StepArg step, int parts,
                                                          float* partial, unsigned* tickets) {
  constexpr int kLanes = HD / 8, kGroups = 32 / kLanes;  // of a key; keys of a warp at a time
  extern __shared__ float memory[];                      // q [R][HD], scratch [2][HD], joins
  __shared__ float shared[32];
  __shared__ bool last;
  float *q = memory, *scratch = memory + R * HD;
  const int seq = static_cast<int>(blockIdx.x) / a.kv_heads;
  const int kv_head = static_cast<int>(blockIdx.x) % a.kv_heads, part = static_cast<int>(blockIdx.y);
  const int group = a.heads / a.kv_heads, begin = step.query_begin[seq];
  const int queries = step.query_begin[seq + 1] - begin, rows = queries * group;
  const int64_t length = step.context_len[seq], past = length - queries;
  const int64_t keys = (length + parts - 1) / parts;
  const int64_t from = part * keys, to = min(from + keys, length);
  const Place place{a, step, seq, kv_head};

  for (int r = 0; r < rows; ++r)
    load_head(a, a.q, a.q_weight, begin + r / group, kv_head * group + r % group, length, scratch,
              q + r * HD, shared);
  for (int64_t j = max(from, past); j < to; ++j) {  // this step's keys, in this part
    const int64_t t = begin + (j - past), row = place.row(j);
    load_head(a, a.k, a.k_weight, t, kv_head, length, scratch, scratch + HD, shared);
    for (int i = threadIdx.x; i < HD; i += kThreads) {
      store_any(a.kv_dtype, a.k_cache, row * HD + i, scratch[HD + i]);
      store_any(a.kv_dtype, a.v_cache, row * HD + i, at(a.v, t, int64_t{kv_head} * HD + i));
    }
    __syncthreads();
  }

  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, mine = lane / kLanes,
            column = lane % kLanes * 8;
  float max[R], sum[R], acc[R][8];
#pragma unroll
  for (int r = 0; r < R; ++r) {
    max[r] = -INFINITY;
    sum[r] = 0;
    for (int i = 0; i < 8; ++i) acc[r][i] = 0;
  }
  constexpr int kStep = kWarps * kGroups;
  for (int64_t j0 = from + warp * kGroups + mine; j0 - mine < to; j0 += kStep * kUnroll) {
    uint4 kv[kUnroll], vv[kUnroll];
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) {
      const int64_t j = min(j0 + u * kStep, to - 1), row = place.row(j) * HD + column;
      kv[u] = *reinterpret_cast<const uint4*>(a.k_cache + row * 2);
      vv[u] = *reinterpret_cast<const uint4*>(a.v_cache + row * 2);
    }
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) {
      const int64_t j = j0 + u * kStep;
      float k[8], v[8];
      widen(kv[u], a.kv_dtype, k);
      widen(vv[u], a.kv_dtype, v);
#pragma unroll
      for (int r = 0; r < R; ++r) {
        if (r >= rows) break;
        float s = 0;
#pragma unroll
        for (int i = 0; i < 8; ++i) s = fmaf(q[r * HD + column + i], k[i], s);
#pragma unroll
        for (int d = kLanes / 2; d > 0; d /= 2) s += __shfl_xor_sync(0xffffffffu, s, d);
        const int64_t position = past + r / group;
        const bool seen = j < to && j <= position && (a.window <= 0 || j > position - a.window);
        s *= a.scale;
        if (a.softcap > 0) s = a.softcap * tanhf(s / a.softcap);
        if (!seen) s = -INFINITY;
        const float m = fmaxf(max[r], s);
        const float shrink = m == -INFINITY ? 1.f : __expf(max[r] - m);
        const float p = m == -INFINITY ? 0.f : __expf(s - m);
        sum[r] = sum[r] * shrink + p;
        max[r] = m;
#pragma unroll
        for (int i = 0; i < 8; ++i) acc[r][i] = fmaf(p, v[i], acc[r][i] * shrink);
      }
    }
  }

  // Joins: per row and lane group [max, sum, HD outputs].
  constexpr int kJoins = kWarps * kGroups;
  float* joins = scratch + 2 * HD;  // [kJoins][HD + 2], one row at a time
  for (int r = 0; r < rows; ++r) {
    __syncthreads();
    float* own = joins + (warp * kGroups + mine) * (HD + 2);
#pragma unroll
    for (int rr = 0; rr < R; ++rr)
      if (rr == r) {
        if (column == 0) {
          own[0] = max[rr];
          own[1] = sum[rr];
        }
        for (int i = 0; i < 8; ++i) own[2 + column + i] = acc[rr][i];
      }
    __syncthreads();
    float m = -INFINITY, total = 0;
    for (int g = 0; g < kJoins; ++g) m = fmaxf(m, joins[g * (HD + 2)]);
    const bool empty = m == -INFINITY;
    for (int g = 0; g < kJoins && !empty; ++g)
      total += joins[g * (HD + 2) + 1] * __expf(joins[g * (HD + 2)] - m);
    const int64_t t = begin + r / group, head = int64_t{kv_head} * group + r % group;
    float* out = partial + ((t * a.heads + head) * kDecodeMaxParts + part) * (HD + 2);
    for (int i = threadIdx.x; i < HD; i += kThreads) {
      float v = 0;
      for (int g = 0; g < kJoins && !empty; ++g)
        v += joins[g * (HD + 2) + 2 + i] * __expf(joins[g * (HD + 2)] - m);
      if (parts == 1)
        put(a.y, t, head * HD + i, v / total);
      else
        out[2 + i] = v;
    }
    if (parts > 1 && threadIdx.x == 0) {
      out[0] = m;
      out[1] = total;
    }
  }
  if (parts == 1) return;
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) last = atomicAdd(tickets + blockIdx.x, 1) == static_cast<unsigned>(parts) - 1;
  __syncthreads();
  if (!last) return;
  if (threadIdx.x == 0) tickets[blockIdx.x] = 0;
  __threadfence();
  for (int r = 0; r < rows; ++r) {
    const int64_t t = begin + r / group, head = int64_t{kv_head} * group + r % group;
    const float* all = partial + (t * a.heads + head) * kDecodeMaxParts * (HD + 2);
    float m = -INFINITY, total = 0;
    for (int p = 0; p < parts; ++p) m = fmaxf(m, __ldcg(all + p * (HD + 2)));
    for (int p = 0; p < parts; ++p)
      total += __ldcg(all + p * (HD + 2) + 1) * __expf(__ldcg(all + p * (HD + 2)) - m);
    for (int i = threadIdx.x; i < HD; i += kThreads) {
      float v = 0;
      for (int p = 0; p < parts; ++p)
        v += __ldcg(all + p * (HD + 2) + 2 + i) * __expf(__ldcg(all + p * (HD + 2)) - m);
      put(a.y, t, head * HD + i, v / total);
    }
  }
}

template <int HD, int R>
void launch(const AttentionArg& a, const StepArg& step, int parts, float* partial,
            unsigned* tickets, cudaStream_t stream) {
  constexpr int kJoins = kWarps * 32 / (HD / 8);
  constexpr size_t kShared = sizeof(float) * ((R + 2) * HD + kJoins * (HD + 2));
  const dim3 grid(static_cast<unsigned>(step.sequences * a.kv_heads), static_cast<unsigned>(parts));
  decode_kernel<HD, R><<<grid, kThreads, kShared, stream>>>(a, step, parts, partial, tickets);
}

template <int HD>
void by_rows(const AttentionArg& a, const StepArg& step, int parts, float* partial,
             unsigned* tickets, cudaStream_t stream) {
  const int rows = a.heads / a.kv_heads * step.max_queries;
  if (rows == 1) return launch<HD, 1>(a, step, parts, partial, tickets, stream);
  if (rows <= 4) return launch<HD, 4>(a, step, parts, partial, tickets, stream);
  launch<HD, kDecodeRows>(a, step, parts, partial, tickets, stream);
}

}  // namespace

bool decode_attention_fits(int head_dim, DType kv_dtype) {
  return (head_dim == 64 || head_dim == 128 || head_dim == 256) &&
         (kv_dtype == DType::f16 || kv_dtype == DType::bf16);
}

size_t decode_partial_bytes(int64_t tokens, int heads, int head_dim) {
  return sizeof(float) * static_cast<size_t>(tokens * heads * kDecodeMaxParts * (head_dim + 2));
}

void decode_attention(const AttentionArg& a, const StepArg& step, int parts, float* partial,
                      unsigned* tickets, cudaStream_t stream) {
  if (step.sequences == 0) return;
  if (a.head_dim == 64) return by_rows<64>(a, step, parts, partial, tickets, stream);
  if (a.head_dim == 128) return by_rows<128>(a, step, parts, partial, tickets, stream);
  by_rows<256>(a, step, parts, partial, tickets, stream);
}

}  // namespace tokamak::cuda
