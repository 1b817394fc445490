// The one source of the lora kernels; lora_avx2.cc and lora_avx512.cc compile it. A sum's order
// depends neither on the number of tokens nor on how columns are shared out.
#pragma once
#include "backend/cpu/lora/lora_kernels.h"
#include "backend/cpu/simd/simd16.h"

namespace tokamak {
namespace {
namespace lora {

using simd::F16x;

struct Float {
  using Element = float;
  TOKAMAK_INLINE static F16x load(const float* p) { return simd::load(p); }
};
struct Half {
  using Element = uint16_t;
  TOKAMAK_INLINE static F16x load(const uint16_t* p) { return simd::load_f16(p); }
};
struct Brain {
  using Element = uint16_t;
  TOKAMAK_INLINE static F16x load(const uint16_t* p) { return simd::load_bf16(p); }
};

// kRows rows of A for kTokens tokens.
template <typename E, int kTokens, int kRows>
TOKAMAK_INLINE void shrink_tile(const typename E::Element* a, int64_t a_stride, const LoraRows& x,
                                int64_t k, float scale, float* h, int64_t h_stride) {
  F16x acc[kTokens][kRows];
#pragma GCC unroll 4
  for (int t = 0; t < kTokens; ++t)
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) acc[t][r] = simd::zero();
  for (int64_t i = 0; i < k; i += 16) {
    const int left = k - i < 16 ? static_cast<int>(k - i) : 16;
    F16x w[kRows];
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) w[r] = E::load(a + r * a_stride + i);
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t) {
      const float* p = x.data + t * x.row_stride + i;
      const F16x v = left == 16 ? simd::load(p) : simd::load_n(p, left);
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) acc[t][r] = simd::fma(w[r], v, acc[t][r]);
    }
  }
#pragma GCC unroll 4
  for (int t = 0; t < kTokens; ++t)
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) h[t * h_stride + r] = scale * simd::sum(acc[t][r]);
}

template <typename E, int kTokens>
void shrink_rows(const LoraPart& part, LoraRows x, int64_t k, float* h, int64_t h_stride) {
  const auto* a = static_cast<const typename E::Element*>(part.a);
  const int64_t stride = lora_padded(k);
  int r = 0;
  for (; r + 4 <= part.rank; r += 4)
    shrink_tile<E, kTokens, 4>(a + r * stride, stride, x, k, part.scale, h + r, h_stride);
  for (; r < part.rank; ++r)
    shrink_tile<E, kTokens, 1>(a + r * stride, stride, x, k, part.scale, h + r, h_stride);
}

template <typename E, int kTokens>
void expand_rows(const LoraPart& part, int64_t n, const float* h, int64_t h_stride, LoraRows y,
                 LoraRows out, int64_t begin, int64_t end) {
  const auto* b = static_cast<const typename E::Element*>(part.b);
  const int64_t stride = lora_padded(n);
  for (int64_t c = begin; c < end; c += 32) {
    const int first = end - c < 16 ? static_cast<int>(end - c) : 16;
    const int second = end - c < 32 ? static_cast<int>(end - c) - first : 16;
    F16x acc[kTokens][2];
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t) {
      const float* p = y.data + t * y.row_stride + c;
      acc[t][0] = simd::load_n(p, first);
      acc[t][1] = second > 0 ? simd::load_n(p + 16, second) : simd::zero();
    }
    for (int r = 0; r < part.rank; ++r) {
      const F16x w0 = E::load(b + r * stride + c), w1 = E::load(b + r * stride + c + 16);
#pragma GCC unroll 4
      for (int t = 0; t < kTokens; ++t) {
        const F16x s = simd::set1(h[t * h_stride + r]);
        acc[t][0] = simd::fma(w0, s, acc[t][0]);
        acc[t][1] = simd::fma(w1, s, acc[t][1]);
      }
    }
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t) {
      float* p = out.data + t * out.row_stride + c;
      simd::store_n(p, acc[t][0], first);
      if (second > 0) simd::store_n(p + 16, acc[t][1], second);
    }
  }
}

template <typename E>
void shrink_of(const LoraPart& part, LoraRows x, int64_t k, int tokens, float* h,
               int64_t h_stride) {
  switch (tokens) {
    case 1:
      return shrink_rows<E, 1>(part, x, k, h, h_stride);
    case 2:
      return shrink_rows<E, 2>(part, x, k, h, h_stride);
    case 3:
      return shrink_rows<E, 3>(part, x, k, h, h_stride);
    default:
      return shrink_rows<E, 4>(part, x, k, h, h_stride);
  }
}

template <typename E>
void expand_of(const LoraPart& part, int64_t n, const float* h, int64_t h_stride, int tokens,
               LoraRows y, LoraRows out, int64_t begin, int64_t end) {
  switch (tokens) {
    case 1:
      return expand_rows<E, 1>(part, n, h, h_stride, y, out, begin, end);
    case 2:
      return expand_rows<E, 2>(part, n, h, h_stride, y, out, begin, end);
    case 3:
      return expand_rows<E, 3>(part, n, h, h_stride, y, out, begin, end);
    default:
      return expand_rows<E, 4>(part, n, h, h_stride, y, out, begin, end);
  }
}

void shrink(const LoraPart& part, LoraRows x, int64_t k, int tokens, float* h, int64_t h_stride) {
  if (part.dtype == DType::f32) return shrink_of<Float>(part, x, k, tokens, h, h_stride);
  if (part.dtype == DType::f16) return shrink_of<Half>(part, x, k, tokens, h, h_stride);
  shrink_of<Brain>(part, x, k, tokens, h, h_stride);
}

void expand(const LoraPart& part, int64_t n, const float* h, int64_t h_stride, int tokens,
            LoraRows y, LoraRows out, int64_t begin, int64_t end) {
  if (part.dtype == DType::f32)
    return expand_of<Float>(part, n, h, h_stride, tokens, y, out, begin, end);
  if (part.dtype == DType::f16)
    return expand_of<Half>(part, n, h, h_stride, tokens, y, out, begin, end);
  expand_of<Brain>(part, n, h, h_stride, tokens, y, out, begin, end);
}

constexpr LoraKernels kKernels = {shrink, expand};

}  // namespace lora
}  // namespace
}  // namespace tokamak
