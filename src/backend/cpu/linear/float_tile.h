// Sums of float weights (f32, f16, bf16, f8_row) with float32 activations, and of bf16 weights with
// bf16 activations where the ISA multiplies pairs. See tile.h and rows16.h for the layouts.
#pragma once
#include "backend/cpu/linear/ahead.h"
#include "backend/cpu/linear/rows16.h"
#include "backend/cpu/linear/tile.h"
#include "backend/cpu/simd/simd16.h"

namespace tokamak {
namespace {

using simd::F16x;
using simd::I16x;

// Independent sums per token and group: narrow tiles would otherwise wait for each multiply-add.
template <int W>
constexpr int kSums = W == 1                    ? (kSide<1> > 1 ? 2 : 4)
                      : W == 2 && kSide<2> == 1 ? 2
                                                : 1;

template <int S, int W, int U>
TOKAMAK_INLINE void start_sums(F16x (&sums)[S][U][W], bool add, const float* acc) {
#pragma GCC unroll 4
  for (int s = 0; s < S; ++s) {
#pragma GCC unroll 4
    for (int u = 0; u < U; ++u)
#pragma GCC unroll 32
      for (int t = 0; t < W; ++t) sums[s][u][t] = simd::zero();
    if (add)
#pragma GCC unroll 32
      for (int t = 0; t < W; ++t) sums[s][0][t] = simd::load(acc + (s * W + t) * 16);
  }
}

template <int S, int W, int U>
TOKAMAK_INLINE void store_sums(F16x (&sums)[S][U][W], float* acc) {
#pragma GCC unroll 4
  for (int s = 0; s < S; ++s)
#pragma GCC unroll 32
    for (int t = 0; t < W; ++t) {
      F16x v = sums[s][0][t];
#pragma GCC unroll 4
      for (int u = 1; u < U; ++u) v = simd::add(v, sums[s][u][t]);
      simd::store(acc + (s * W + t) * 16, v);
    }
}

template <int W>
TOKAMAK_INLINE void multiply_add(F16x (&s)[W], F16x w, const float* x) {
#pragma GCC unroll 32
  for (int t = 0; t < W; ++t) s[t] = simd::fma(w, simd::set1(x[t]), s[t]);
}

// f32, f16 and f8_row: one step is one input.
template <DType D>
constexpr size_t kFloatStep = D == DType::f32   ? 64
                              : D == DType::f16 ? 32
                                                : 16;
template <DType D>
constexpr size_t kFloatHead = D == DType::f8_row ? 64 : 0;  // scales ahead of a group
template <DType D>
TOKAMAK_INLINE F16x float_weights(const std::byte* p) {
  if constexpr (D == DType::f32)
    return simd::load(reinterpret_cast<const float*>(p));
  else if constexpr (D == DType::f16)
    return simd::load_f16(p);
  else
    return simd::load_f8(p);
}

// Sums of a group of f8 codes times its scales, added to what acc has of earlier inputs.
template <int S, int W, int U>
TOKAMAK_INLINE void store_scaled_sums(F16x (&sums)[S][U][W], const LinearWeights& m,
                                      const std::byte* w, bool add, float* acc) {
  float before[S * W * 16];
  if (add) __builtin_memcpy(before, acc, sizeof(before));
  store_sums<S, W, U>(sums, acc);
  for (int s = 0; s < S; ++s) {
    const auto* scales = reinterpret_cast<const float*>(w + s * m.group_bytes);
    const F16x scale = simd::mul(simd::load(scales), simd::set1(256));  // load_f8's 2^-8
    for (int i = s * W * 16; i < (s + 1) * W * 16; i += 16)
      simd::store(acc + i, add ? simd::fma(simd::load(acc + i), scale, simd::load(before + i))
                               : simd::mul(simd::load(acc + i), scale));
  }
}

template <DType D, int S, int W, int U>
TOKAMAK_INLINE void float_groups(const LinearWeights& m, const std::byte* w, const std::byte* next,
                                 const float* x, int64_t k_begin, int64_t k_end, float* acc) {
  constexpr size_t kStep = kFloatStep<D>;
  constexpr bool kScaled = D == DType::f8_row;
  F16x sums[S][U][W];
  start_sums<S, W, U>(sums, k_begin > 0 && !kScaled, acc);
  SideAhead<S> ahead(m, w, kFloatHead<D> + static_cast<size_t>(k_begin) * kStep, next);
  const std::byte* p = w + kFloatHead<D> + k_begin * kStep;
  int64_t i = k_begin;
  for (; i + U <= k_end; i += U, x += U * W, p += U * kStep) {
    if constexpr (W <= 4) ahead.advance(U * kStep);
#pragma GCC unroll 4
    for (int u = 0; u < U; ++u)
#pragma GCC unroll 4
      for (int s = 0; s < S; ++s)
        multiply_add<W>(sums[s][u], float_weights<D>(p + s * m.group_bytes + u * kStep), x + u * W);
  }
  for (; i < k_end; ++i, x += W, p += kStep)
#pragma GCC unroll 4
    for (int s = 0; s < S; ++s)
      multiply_add<W>(sums[s][0], float_weights<D>(p + s * m.group_bytes), x);
  if constexpr (kScaled)
    store_scaled_sums<S, W, U>(sums, m, w, k_begin > 0, acc);
  else
    store_sums<S, W, U>(sums, acc);
}

template <DType D, int W, int U>
void float_tile(const LinearWeights& m, const std::byte* w, int64_t groups, const std::byte* next,
                const std::byte* x, int64_t k_begin, int64_t k_end, float* acc) {
  const auto* first = reinterpret_cast<const float*>(x) + k_begin * W;
  side_by_side<kSide<W>>(m, w, groups, next, [&]<int S>(const std::byte* p, const std::byte* then) {
    float_groups<D, S, W, U>(m, p, then, first, k_begin, k_end, acc);
    acc += S * W * 16;
  });
}

// bf16 weights widened to float32: one step is a pair of inputs.
template <int W, int U>
TOKAMAK_INLINE void multiply_add_pair(F16x (&sums)[U][W], int u, const std::byte* p, const float* x,
                                      bool both) {
  const I16x v = simd::iload(p), high = simd::iset1(static_cast<int32_t>(0xffff0000u));
  multiply_add<W>(sums[2 * u % U], simd::as_float(simd::shift_left<16>(v)), x);
  if (both) multiply_add<W>(sums[(2 * u + 1) % U], simd::as_float(simd::iand(v, high)), x + W);
}

template <int S, int W, int U>
TOKAMAK_INLINE void bf16_groups(const LinearWeights& m, const std::byte* w, const std::byte* next,
                                const float* x, int64_t k_begin, int64_t k_end, float* acc) {
  constexpr int P = U == 4 ? 2 : 1;  // pairs per round
  F16x sums[S][U][W];
  start_sums<S, W, U>(sums, k_begin > 0, acc);
  SideAhead<S> ahead(m, w, static_cast<size_t>(k_begin) * 32, next);
  const std::byte* p = w + k_begin * 32;
  int64_t i = k_begin;
  for (; i + 2 * P <= k_end; i += 2 * P, x += 2 * P * W, p += 64 * P) {
    if constexpr (W <= 4) ahead.advance(64 * P);
#pragma GCC unroll 2
    for (int u = 0; u < P; ++u)
#pragma GCC unroll 4
      for (int s = 0; s < S; ++s)
        multiply_add_pair<W, U>(sums[s], u, p + s * m.group_bytes + 64 * u, x + 2 * u * W, true);
  }
  for (; i < k_end; i += 2, x += 2 * W, p += 64)
#pragma GCC unroll 4
    for (int s = 0; s < S; ++s)
      multiply_add_pair<W, U>(sums[s], 0, p + s * m.group_bytes, x, i + 1 < k_end);
  store_sums<S, W, U>(sums, acc);
}

template <int W, int U>
void bf16_tile(const LinearWeights& m, const std::byte* w, int64_t groups, const std::byte* next,
               const std::byte* x, int64_t k_begin, int64_t k_end, float* acc) {
  const auto* first = reinterpret_cast<const float*>(x) + k_begin * W;
  side_by_side<kSide<W>>(m, w, groups, next, [&]<int S>(const std::byte* p, const std::byte* then) {
    bf16_groups<S, W, U>(m, p, then, first, k_begin, k_end, acc);
    acc += S * W * 16;
  });
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
