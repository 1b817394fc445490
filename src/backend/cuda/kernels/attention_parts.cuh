// What the tuned attention kernels share: a step's sequences and cache rows, heads that a warp
// norms, turns and rounds.
#pragma once
#include "backend/cuda/kernels/any.cuh"
#include "backend/cuda/kernels/async_copy.cuh"
#include "backend/cuda/kernels/launch.cuh"
#include "backend/cuda/kernels/mma.cuh"
#include "backend/cuda/kernels/rotate.cuh"
#include "backend/cuda/kernels/vector.cuh"

namespace tokamak::cuda {

// How a cache row is stored; products of f16 and f8 run in f16, of bf16 in bf16, of int8 with q in
// f16 and with probabilities, which carry the rows' scales, in bf16.
enum class Kv : int { f16, bf16, int8, f8 };

template <Kv KV>
inline constexpr bool kBf16Keys = KV == Kv::bf16;
template <Kv KV>
inline constexpr bool kBf16Values = KV == Kv::bf16 || KV == Kv::int8;

constexpr float kLog2E = 1.4426950408889634f;

// What the kernel before this one may just have written, or may write next: no cache but the shared
// one, and read when it says so.
__device__ inline int load_fresh(const int32_t* p) {
  int v;
  asm volatile("ld.relaxed.gpu.global.s32 %0, [%1];" : "=r"(v) : "l"(p) : "memory");
  return v;
}

template <bool BF16>
__device__ inline uint32_t pack2(float low, float high) {
  if constexpr (BF16) {
    const __nv_bfloat162 v = __floats2bfloat162_rn(low, high);
    return *reinterpret_cast<const uint32_t*>(&v);
  } else {
    const __half2 v = __floats2half2_rn(low, high);
    return *reinterpret_cast<const uint32_t*>(&v);
  }
}

// Eight 16-bit elements as floats, and back.
__device__ inline void widen8(bool bf16, uint4 v, float (&out)[8]) {
  const uint32_t w[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if (bf16) {
      out[2 * i] = __uint_as_float(w[i] << 16);
      out[2 * i + 1] = __uint_as_float(w[i] & 0xffff0000u);
    } else {
      const float2 f = __half22float2(*reinterpret_cast<const __half2*>(&w[i]));
      out[2 * i] = f.x;
      out[2 * i + 1] = f.y;
    }
  }
}
template <bool BF16>
__device__ inline uint4 narrow8(const float (&v)[8]) {
  return {pack2<BF16>(v[0], v[1]), pack2<BF16>(v[2], v[3]), pack2<BF16>(v[4], v[5]),
          pack2<BF16>(v[6], v[7])};
}

// An 8 x 8 matrix of 16-bit elements over a warp, transposed.
__device__ inline uint32_t transposed(uint32_t v) {
  uint32_t r;
  asm("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(r) : "r"(v));
  return r;
}

// Two elements of e4m3 as f16.
__device__ inline uint32_t widen_f8(uint16_t v) {
  uint32_t r;
#if __CUDA_ARCH__ >= 890
  asm("cvt.rn.f16x2.e4m3x2 %0, %1;" : "=r"(r) : "h"(v));
#else
  const auto one = [](uint32_t c) -> uint32_t {  // e4m3 has f16's order: scale the exponent
    const __half h =
        __ushort_as_half(static_cast<unsigned short>((c & 0x80) << 8 | (c & 0x7f) << 7));
    return (c & 0x7f) == 0x7f ? 0x7fffu : __half_as_ushort(h * __float2half(256.f));
  };
  r = one(v & 255) | one(v >> 8) << 16;
#endif
  return r;
}
// Two floats, rounded to e4m3; what is too large becomes the largest.
__device__ inline uint16_t narrow_f8(float low, float high) {
#if __CUDA_ARCH__ >= 890
  uint16_t r;
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(r) : "f"(high), "f"(low));
  return r;
#else
  const auto one = [](float x) -> uint32_t {
    const uint32_t sign = __float_as_uint(x) >> 24 & 0x80;
    const float v = fabsf(x);
    if (!(v == v)) return sign | 0x7f;
    if (v >= 464.f) return sign | 0x7e;
    int e = v > 0 ? ilogbf(v) : -6;
    e = e < -6 ? -6 : e;
    const int m = static_cast<int>(rintf(ldexpf(v, 3 - e)));  // 0 … 16
    const int code = m < 8 ? m : (e + 7) * 8 + (m - 8);       // m = 16: the next exponent's first
    return sign | static_cast<uint32_t>(code > 0x7e ? 0x7e : code);
  };
  return static_cast<uint16_t>(one(low) | one(high) << 8);
#endif
}
// Eight neighbours into a cache of 16 bits or FP8. Divided: a rounded reciprocal turns some values
// into the neighbouring code.
__device__ inline uint2 eight_codes(const float (&v)[8], float scale) {
  const auto codes = [&](int i) {
    return narrow_f8(v[i] / scale, v[i + 1] / scale) |
           uint32_t{narrow_f8(v[i + 2] / scale, v[i + 3] / scale)} << 16;
  };
  return uint2{codes(0), codes(4)};
}
template <Kv KV>
__device__ inline void store_cached8(uint8_t* to, const float (&v)[8], float scale) {
  if constexpr (KV == Kv::f8) {
    *reinterpret_cast<uint2*>(to) = eight_codes(v, scale);
  } else {
    *reinterpret_cast<uint4*>(to) = narrow8<KV == Kv::bf16>(v);
  }
}
// Eight neighbours of a head's first half and those of its second turn against each other.
__device__ inline void turn8(float (&x)[8], float (&y)[8], const float2* angles) {
#pragma unroll
  for (int e = 0; e < 8; ++e) {
    const float first = x[e], second = y[e];
    x[e] = first * angles[e].x - second * angles[e].y;
    y[e] = second * angles[e].x + first * angles[e].y;
  }
}
// The same of packed ones: what comes in of bfloat16 or float16, what goes out likewise.
template <bool BF16>
__device__ inline void turn8(bool from_bf16, uint4& u, uint4& w, const float2* angles) {
  float x[8], y[8];
  widen8(from_bf16, u, x);
  widen8(from_bf16, w, y);
  turn8(x, y, angles);
  u = narrow8<BF16>(x);
  w = narrow8<BF16>(y);
}

// Codes 2i and 2i + 1 of four int8 in a word, as f16 or bf16.
template <bool BF16>
__device__ inline uint32_t widen_int8(uint32_t codes, int i) {
  if constexpr (BF16)
    return pack2<true>(static_cast<float>(static_cast<int8_t>(codes >> 16 * i)),
                       static_cast<float>(static_cast<int8_t>(codes >> (16 * i + 8))));
  const uint32_t u = __byte_perm(codes ^ 0x80808080u, 0x64646464u, i == 0 ? 0x4140 : 0x4342);
  const __half2 offset = __float2half2_rn(1152.f);  // 1024 + 128
  const __half2 v = __hsub2(*reinterpret_cast<const __half2*>(&u), offset);
  return *reinterpret_cast<const uint32_t*>(&v);
}

__device__ inline float exp2_fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// cap * tanh(x / cap), to within 1e-6 of cap.
__device__ inline float capped(float x, float cap) {
  return cap - __fdividef(2 * cap, 1 + exp2_fast(2 * kLog2E * x / cap));
}

// What turns pair i of a head, for a token.
__device__ inline float2 angle_of(const AttentionArg& a, int64_t length, int position, int i) {
  float magnitude, s, c;
  sincosf(static_cast<float>(position) * frequency(a.rope, length, i, magnitude), &s, &c);
  return {c * magnitude, s * magnitude};
}

// A head of q, k or v in one warp's registers: element lane + 32 * i.
template <int HD>
struct RawHead {
  float v[HD / 32];
  __device__ void load(const AttentionArg& a, const RowsArg& x, int t, int head) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const int64_t from = t * x.stride + head * a.head_dim + lane;
    if (x.dtype == DType::f32) {
#pragma unroll
      for (int i = 0; i < HD / 32; ++i)
        v[i] = lane + 32 * i < a.head_dim ? static_cast<const float*>(x.data)[from + 32 * i] : 0;
      return;
    }
    uint16_t bits[HD / 32];  // all are asked for before one is waited for
#pragma unroll
    for (int i = 0; i < HD / 32; ++i)
      bits[i] =
          lane + 32 * i < a.head_dim ? static_cast<const uint16_t*>(x.data)[from + 32 * i] : 0;
#pragma unroll
    for (int i = 0; i < HD / 32; ++i)
      v[i] = x.dtype == DType::bf16 ? __uint_as_float(uint32_t{bits[i]} << 16)
                                    : __half2float(__ushort_as_half(bits[i]));
  }
};

// It, normed where `weight` has data, turned where there are angles, as floats in shared memory of
// the warp's own.
template <int HD>
__device__ inline void warp_head(const AttentionArg& a, const RawHead<HD>& raw,
                                 const RowsArg& weight, const float2* angles, float* out) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  float scale = 1;
  if (weight.data != nullptr) {
    float square = 0;
#pragma unroll
    for (int i = 0; i < HD / 32; ++i) square = fmaf(raw.v[i], raw.v[i], square);
#pragma unroll
    for (int d = 16; d > 0; d /= 2) square += __shfl_xor_sync(0xffffffffu, square, d);
    scale = 1 / sqrtf(square / static_cast<float>(a.head_dim) + a.qk_eps);
  }
#pragma unroll
  for (int i = 0; i < HD / 32; ++i) {
    const int d = lane + 32 * i;
    if (d < a.head_dim)
      out[d] = weight.data != nullptr
                   ? raw.v[i] * (scale * load_activation(weight.dtype, weight.data, d))
                   : raw.v[i];
  }
  __syncwarp();
  if (angles != nullptr) {
    const int half = a.rope.rotary_dim / 2;
    for (int i = lane; i < half; i += 32) {
      float& first = out[a.rope.neox ? i : 2 * i];
      float& second = out[a.rope.neox ? i + half : 2 * i + 1];
      const float2 c = angles[i];
      const float u = first, w = second;
      first = u * c.x - w * c.y;
      second = w * c.x + u * c.y;
    }
    __syncwarp();
  }
}

// Bytes of a row of the cache.
template <Kv KV>
__device__ inline int kv_pitch(const AttentionArg& a) {
  return KV == Kv::int8 ? 2 + a.head_dim : KV == Kv::f8 ? a.head_dim : 2 * a.head_dim;
}

// One warp rounds a head (floats in shared memory) to a cache row at one or two places.
template <Kv KV>
__device__ inline void warp_store_row(const AttentionArg& a, const float* head, float scale_f8,
                                      uint8_t* to, uint8_t* copy) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const auto put2 = [&](int at, uint16_t v) {
    *reinterpret_cast<uint16_t*>(to + at) = v;
    if (copy != nullptr) *reinterpret_cast<uint16_t*>(copy + at) = v;
  };
  if constexpr (KV == Kv::int8) {
    float largest = 0;
    for (int i = lane; i < a.head_dim; i += 32) largest = fmaxf(largest, fabsf(head[i]));
#pragma unroll
    for (int d = 16; d > 0; d /= 2)
      largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, d));
    const __half h = __float2half_rn(fminf(largest / 127, 65504.f));
    const float scale = __half2float(h);
    if (lane == 0) put2(0, __half_as_ushort(h));
    const auto code = [&](float x) -> uint32_t {
      const float c = scale > 0 ? rintf(x / scale) : 0;
      return static_cast<uint32_t>(static_cast<int>(fminf(fmaxf(c, -127.f), 127.f))) & 255;
    };
    for (int i = 2 * lane; i < a.head_dim; i += 64)
      put2(2 + i, static_cast<uint16_t>(code(head[i]) | code(head[i + 1]) << 8));
  } else if constexpr (KV == Kv::f8) {
    for (int i = 2 * lane; i < a.head_dim; i += 64)
      put2(i, narrow_f8(head[i] / scale_f8, head[i + 1] / scale_f8));
  } else {
    for (int i = lane; i < a.head_dim; i += 32)
      put2(2 * i, static_cast<uint16_t>(pack2<KV == Kv::bf16>(head[i], 0)));
  }
}

// Bytes from a pool's begin to the row of key j.
template <Kv KV>
__device__ inline int64_t kv_row(const AttentionArg& a, const StepArg& step, int seq, int kv_head,
                                 int j) {
  const int64_t block =
      load_fresh(step.block_table + int64_t{seq} * step.block_table_stride + j / a.block_size);
  return ((block * a.kv_heads + kv_head) * a.block_size + j % a.block_size) * kv_pitch<KV>(a);
}

}  // namespace tokamak::cuda
