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

// Codes of keys and values as float16, as PrefillQueries has them; null: not wanted.
struct Widened {
  uint8_t *k = nullptr, *v = nullptr;
};

struct Token {
  int t, seq, length;
  int64_t place;  // in its sequence
};

// Eight neighbours into the cache, and as what they are there where `wide` is not null.
template <Kv KV>
__device__ inline void store_both(uint8_t* to, uint8_t* wide, const float (&v)[8], float scale) {
  if constexpr (KV == Kv::f8) {
    const uint2 c = eight_codes(v, scale);
    *reinterpret_cast<uint2*>(to) = c;
    const auto pair = [](uint32_t w, int half) {
      return widen_f8(static_cast<uint16_t>(w >> 16 * half));
    };
    if (wide != nullptr)
      *reinterpret_cast<uint4*>(wide) = {pair(c.x, 0), pair(c.x, 1), pair(c.y, 0), pair(c.y, 1)};
  } else {
    store_cached8<KV>(to, v, scale);
  }
}

// Heads whose two halves turn against each other, in 16-bit rows at multiples of 16 bytes.
template <Kv KV, bool BF16>
__device__ void by_pieces(const AttentionArg& a, const StepArg& step, const Token& t,
                          const float2* angles, const Widened& wide) {
  constexpr int kBytes = KV == Kv::f8 ? 1 : 2;
  const int half = a.head_dim / 2, pieces = half / 8;
  const int turning = a.kv_heads * pieces, all = turning + 2 * a.kv_heads * pieces;
  const int64_t first = kv_row<KV>(a, step, t.seq, 0, static_cast<int>(t.place));
  const int64_t head_bytes = int64_t{a.block_size} * kv_pitch<KV>(a);
  const int64_t wide_row = int64_t{t.t} * a.kv_heads * a.head_dim;
  const auto wide_at = [&](uint8_t* rows, int at) {
    return rows == nullptr ? nullptr : rows + 2 * (wide_row + at);
  };
  const auto piece = [](const RowsArg& x, int row, int at) {
    return *reinterpret_cast<const uint4*>(static_cast<const uint8_t*>(x.data) +
                                           2 * (row * x.stride + at));
  };
  for (int i = threadIdx.x; i < all; i += kThreads) {
    if (i >= turning) {
      const int at = (i - turning) * 8, head = at / a.head_dim;
      float v[8];
      widen8(BF16, piece(a.v, t.t, at), v);
      store_both<KV>(a.v_cache + first + head * head_bytes + at % a.head_dim * kBytes,
                     wide_at(wide.v, at), v, a.v_scale);
      continue;
    }
    const int h = i / pieces, at = i % pieces * 8;
    float u[8], w[8];
    widen8(BF16, piece(a.k, t.t, h * a.head_dim + at), u);
    widen8(BF16, piece(a.k, t.t, h * a.head_dim + half + at), w);
    if (a.has_rope) turn8(u, w, angles + at);
    uint8_t* to = a.k_cache + first + h * head_bytes;
    store_both<KV>(to + at * kBytes, wide_at(wide.k, h * a.head_dim + at), u, a.k_scale);
    store_both<KV>(to + (half + at) * kBytes, wide_at(wide.k, h * a.head_dim + half + at), w,
                   a.k_scale);
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
                                                    Widened wide, bool pieces, bool deterministic) {
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
      if (a.q.dtype == DType::bf16) return by_pieces<KV, true>(a, step, t, angles, wide);
      return by_pieces<KV, false>(a, step, t, angles, wide);
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

// Turned queries, or angles and codes as float16.
size_t prefill_workspace_bytes(int64_t tokens, int heads, int kv_heads, int head_dim) {
  return 2 * static_cast<size_t>(tokens) *
         static_cast<size_t>(std::max(heads, 2 + 2 * kv_heads) * head_dim);
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
  Widened wide;
  if (pieces && a.kv_dtype == DType::f8e4m3) {
    wide.k = static_cast<uint8_t*>(workspace) + int64_t{4} * step.tokens * a.head_dim;
    wide.v = wide.k + int64_t{2} * step.tokens * a.kv_heads * a.head_dim;
    q.k = wide.k;
    q.v = wide.v;
  }
  const auto kernel = a.kv_dtype == DType::f16        ? prepare_kernel<Kv::f16>
                      : a.kv_dtype == DType::bf16     ? prepare_kernel<Kv::bf16>
                      : a.kv_dtype == DType::int8_row ? prepare_kernel<Kv::int8>
                                                      : prepare_kernel<Kv::f8>;
  launch_overlapped(kernel, dim3(static_cast<unsigned>(step.tokens)), dim3(kThreads), 0, stream, a,
                    step, static_cast<uint8_t*>(workspace), static_cast<float2*>(workspace), wide,
                    pieces, deterministic);
  return q;
}

}  // namespace tokamak::cuda
