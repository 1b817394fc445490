// Sums of float weights (f32, f16, bf16) with float32 activations, and of bf16 weights with bf16
// activations where the ISA multiplies pairs. See tile.h and rows16.h for the layouts.
#pragma once
#include "backend/cpu/linear/rows16.h"
#include "backend/cpu/linear/tile.h"
#include "backend/cpu/simd/simd16.h"

namespace tokamak {
namespace {

using simd::F16x;
using simd::I16x;

// How far ahead of its use a narrow tile asks for weights: DRAM latency times one core's bandwidth.
constexpr size_t kPrefetchBytes = 4096;

TOKAMAK_INLINE void prefetch(const std::byte* p) {
  _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T0);
}

// Independent sums per token: narrow tiles would otherwise wait for each multiply-add.
template <int W>
constexpr int kSums = W == 1   ? 4
                      : W == 2 ? 2
                               : 1;

template <int W, int U>
TOKAMAK_INLINE void start_sums(F16x (&s)[U][W], bool add, const float* acc) {
  for (auto& row : s)
    for (F16x& v : row) v = simd::zero();
  if (!add) return;
#pragma GCC unroll 32
  for (int t = 0; t < W; ++t) s[0][t] = simd::load(acc + t * 16);
}

template <int W, int U>
TOKAMAK_INLINE void store_sums(F16x (&s)[U][W], float* acc) {
#pragma GCC unroll 32
  for (int t = 0; t < W; ++t) {
    F16x v = s[0][t];
#pragma GCC unroll 4
    for (int u = 1; u < U; ++u) v = simd::add(v, s[u][t]);
    simd::store(acc + t * 16, v);
  }
}

template <int W>
TOKAMAK_INLINE void multiply_add(F16x (&s)[W], F16x w, const float* x) {
#pragma GCC unroll 32
  for (int t = 0; t < W; ++t) s[t] = simd::fma(w, simd::set1(x[t]), s[t]);
}

// f32 and f16: one step is one input.
template <DType D, int W, int U>
void float_tile(const LinearWeights& m, const std::byte* w, int64_t groups, const std::byte* xb,
                int64_t k_begin, int64_t k_end, float* acc) {
  constexpr size_t kStep = D == DType::f32 ? 64 : 32;
  const auto at = [](const std::byte* p) __attribute__((always_inline)) {
    if constexpr (D == DType::f32)
      return simd::load(reinterpret_cast<const float*>(p));
    else
      return simd::load_f16(p);
  };
  for (int64_t g = 0; g < groups; ++g, w += m.group_bytes, acc += W * 16) {
    F16x s[U][W];
    start_sums<W, U>(s, k_begin > 0, acc);
    const auto* x = reinterpret_cast<const float*>(xb) + k_begin * W;
    const std::byte* p = w + k_begin * kStep;
    int64_t i = k_begin;
    for (; i + U <= k_end; i += U, x += U * W, p += U * kStep) {
      if constexpr (W <= 4) {
        for (size_t line = 0; line < U * kStep; line += 64) prefetch(p + kPrefetchBytes + line);
      }
#pragma GCC unroll 4
      for (int u = 0; u < U; ++u) multiply_add<W>(s[u], at(p + u * kStep), x + u * W);
    }
    for (; i < k_end; ++i, x += W, p += kStep) multiply_add<W>(s[0], at(p), x);
    store_sums<W, U>(s, acc);
  }
}

// bf16 weights widened to float32: one step is a pair of inputs.
template <int W, int U>
void bf16_tile(const LinearWeights& m, const std::byte* w, int64_t groups, const std::byte* xb,
               int64_t k_begin, int64_t k_end, float* acc) {
  constexpr int P = U == 4 ? 2 : 1;  // pairs per round
  const I16x high = simd::iset1(static_cast<int32_t>(0xffff0000u));
  for (int64_t g = 0; g < groups; ++g, w += m.group_bytes, acc += W * 16) {
    F16x s[U][W];
    start_sums<W, U>(s, k_begin > 0, acc);
    const auto* x = reinterpret_cast<const float*>(xb) + k_begin * W;
    const std::byte* p = w + k_begin * 32;
    int64_t i = k_begin;
    for (; i + 2 * P <= k_end; i += 2 * P, x += 2 * P * W, p += 64 * P) {
#pragma GCC unroll 2
      for (int u = 0; u < P; ++u) {
        if constexpr (W <= 4) prefetch(p + 64 * u + kPrefetchBytes);
        const I16x v = simd::iload(p + 64 * u);
        multiply_add<W>(s[2 * u % U], simd::as_float(simd::shift_left<16>(v)), x + 2 * u * W);
        multiply_add<W>(s[(2 * u + 1) % U], simd::as_float(simd::iand(v, high)),
                        x + (2 * u + 1) * W);
      }
    }
    for (; i < k_end; i += 2, x += 2 * W, p += 64) {
      const I16x v = simd::iload(p);
      multiply_add<W>(s[0], simd::as_float(simd::shift_left<16>(v)), x);
      if (i + 1 < k_end) multiply_add<W>(s[1 % U], simd::as_float(simd::iand(v, high)), x + W);
    }
    store_sums<W, U>(s, acc);
  }
}

// Transposes tokens into [k][width].
[[maybe_unused]] void pack_f32(const LinearWeights&, const float* x, int64_t stride, int tokens,
                               int width, int64_t k_begin, int64_t k_end, std::byte* tile) {
  auto* out = reinterpret_cast<float*>(tile);
  for (int64_t i = k_begin; i < k_end; ++i)
    for (int t = tokens; t < width; ++t) out[i * width + t] = 0;
  for (int t = 0; t < tokens; ++t) {
    const float* row = x + t * stride;
    float* column = out + t;
    for (int64_t i = k_begin; i < k_end; ++i) column[i * width] = row[i];
  }
}

}  // namespace
}  // namespace tokamak
