// A block owns a token: its angles once, then every head of k turned, k and v into the cache. Heads
// go by 16-byte pieces where their layout allows it, and q is left to be turned where it is read;
// by a warp each where it does not, q too.
#include <algorithm>

#include "backend/cuda/kernels/attention_parts.cuh"
#include "backend/cuda/kernels/decode_attention.h"
#include "backend/cuda/kernels/prefill_attention.h"

namespace tokamak::cuda {
namespace {

constexpr int kThreads = 256, kMaxHead = 256;

struct Token {
  int t, seq, length;
  int64_t place;  // in its sequence
};

// Heads whose two halves turn against each other, in 16-bit rows at multiples of 16 bytes.
template <Kv KV, bool BF16>
__device__ void by_pieces(const AttentionArg& a, const StepArg& step, const Token& t,
                          const float2* angles) {
  constexpr int kBytes = KV == Kv::f8 ? 1 : 2;
  const int half = a.head_dim / 2, pieces = half / 8;
  const int turning = a.kv_heads * pieces, all = turning + 2 * a.kv_heads * pieces;
  const int64_t first = kv_row<KV>(a, step, t.seq, 0, static_cast<int>(t.place));
  const int64_t head_bytes = int64_t{a.block_size} * kv_pitch<KV>(a);
  const auto piece = [](const RowsArg& x, int row, int at) {
    return *reinterpret_cast<const uint4*>(static_cast<const uint8_t*>(x.data) +
                                           2 * (row * x.stride + at));
  };
  for (int i = threadIdx.x; i < all; i += kThreads) {
    if (i >= turning) {
      const int at = (i - turning) * 8, head = at / a.head_dim;
      float v[8];
      widen8(BF16, piece(a.v, t.t, at), v);
      store_cached8<KV>(a.v_cache + first + head * head_bytes + at % a.head_dim * kBytes, v,
                        a.v_scale);
      continue;
    }
    const int h = i / pieces, at = i % pieces * 8;
    float u[8], w[8];
    widen8(BF16, piece(a.k, t.t, h * a.head_dim + at), u);
    widen8(BF16, piece(a.k, t.t, h * a.head_dim + half + at), w);
    if (a.has_rope) turn8(u, w, angles + at);
    uint8_t* to = a.k_cache + first + h * head_bytes;
    store_cached8<KV>(to + at * kBytes, u, a.k_scale);
    store_cached8<KV>(to + (half + at) * kBytes, w, a.k_scale);
  }
}

template <Kv KV>
__device__ void by_heads(const AttentionArg& a, const StepArg& step, const Token& t,
                         const float2* angles, float* memory, uint8_t* queries) {
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  float* head = memory + warp * kMaxHead;
  for (int i = warp; i < a.heads + 2 * a.kv_heads; i += kThreads / 32) {
    __syncwarp();
    RawHead<kMaxHead> raw;
    if (i < a.heads) {
      raw.load(a, a.q, t.t, i);
      warp_head(a, raw, a.q_weight, angles, head);
      uint8_t* to = queries + 2 * (int64_t{t.t} * a.heads + i) * a.head_dim;
      for (int d = 2 * lane; d < a.head_dim; d += 64)
        *reinterpret_cast<uint32_t*>(to + 2 * d) = pack2<KV == Kv::bf16>(head[d], head[d + 1]);
      continue;
    }
    const bool value = i >= a.heads + a.kv_heads;
    const int h = (i - a.heads) % a.kv_heads;
    raw.load(a, value ? a.v : a.k, t.t, h);
    warp_head(a, raw, value ? RowsArg{} : a.k_weight, value ? nullptr : angles, head);
    warp_store_row<KV>(
        a, head, value ? a.v_scale : a.k_scale,
        (value ? a.v_cache : a.k_cache) + kv_row<KV>(a, step, t.seq, h, static_cast<int>(t.place)),
        nullptr);
  }
}

template <Kv KV>
__global__ __launch_bounds__(kThreads,
                             4) void prepare_kernel(const __grid_constant__ AttentionArg a,
                                                    const __grid_constant__ StepArg step,
                                                    uint8_t* queries, float2* all_angles,
                                                    bool pieces, bool deterministic) {
  __shared__ float2 angles[kMaxHead / 2];
  __shared__ float memory[kThreads / 32 * kMaxHead];
  let_next_start();
  wait_for_previous();
  Token t;
  t.t = static_cast<int>(blockIdx.x);
  t.seq = sequence_of(step, t.t);
  const int end = step.query_begin[t.seq + 1];
  const int count = end - step.query_begin[t.seq];
  if (t.t >= end || (!deterministic && is_decode(count, a.heads / a.kv_heads))) return;
  t.length = step.context_len[t.seq];
  t.place = t.length - (end - t.t);
  if (a.has_rope && static_cast<int>(threadIdx.x) < a.rope.rotary_dim / 2)
    angles[threadIdx.x] = angle_of(a, t.length, a.positions[t.t], static_cast<int>(threadIdx.x));
  __syncthreads();
  if constexpr (KV != Kv::int8) {
    if (pieces) {
      if (a.has_rope && static_cast<int>(threadIdx.x) < a.head_dim / 2)
        all_angles[int64_t{t.t} * (a.head_dim / 2) + threadIdx.x] = angles[threadIdx.x];
      if (a.q.dtype == DType::bf16) return by_pieces<KV, true>(a, step, t, angles);
      return by_pieces<KV, false>(a, step, t, angles);
    }
  }
  by_heads<KV>(a, step, t, a.has_rope ? angles : nullptr, memory, queries);
}

bool aligned(const RowsArg& x, DType t) {
  return x.dtype == t && reinterpret_cast<uintptr_t>(x.data) % 16 == 0 && x.stride % 8 == 0;
}
// Also whether q may stay as it is: 16 bits, and of the products' dtype unless it is turned.
bool goes_by_pieces(const AttentionArg& a) {
  const DType t = a.q.dtype, products = a.kv_dtype == DType::bf16 ? DType::bf16 : DType::f16;
  return (t == DType::f16 || t == DType::bf16) && aligned(a.q, t) && aligned(a.k, t) &&
         aligned(a.v, t) && !a.qk_norm && a.head_dim % 16 == 0 && a.kv_dtype != DType::int8_row &&
         (a.has_rope ? a.rope.neox && a.rope.rotary_dim == a.head_dim : t == products);
}

}  // namespace

size_t prefill_workspace_bytes(int64_t tokens, int heads, int head_dim) {
  return 2 * static_cast<size_t>(tokens) * static_cast<size_t>(std::max(heads, 2) * head_dim);
}

PrefillQueries prefill_prepare(const AttentionArg& a, const StepArg& step, void* workspace,
                               bool deterministic, cudaStream_t stream) {
  const bool pieces = goes_by_pieces(a);
  PrefillQueries q;
  q.data = pieces ? a.q.data : workspace;
  q.stride = pieces ? a.q.stride : int64_t{a.heads} * a.head_dim;
  q.deterministic = deterministic;
  q.bf16 = pieces ? a.q.dtype == DType::bf16 : a.kv_dtype == DType::bf16;
  if (pieces && a.has_rope) q.angles = static_cast<const float2*>(workspace);
  const auto kernel = a.kv_dtype == DType::f16        ? prepare_kernel<Kv::f16>
                      : a.kv_dtype == DType::bf16     ? prepare_kernel<Kv::bf16>
                      : a.kv_dtype == DType::int8_row ? prepare_kernel<Kv::int8>
                                                      : prepare_kernel<Kv::f8>;
  launch_overlapped(kernel, dim3(static_cast<unsigned>(step.tokens)), dim3(kThreads), 0, stream, a,
                    step, static_cast<uint8_t*>(workspace), static_cast<float2*>(workspace), pieces,
                    deterministic);
  return q;
}

}  // namespace tokamak::cuda
