// What all attention tiles share: registers to sum in, the scores' cap and their mask, transposes.
#pragma once
#include <utility>

#include "backend/cpu/attention/heads.h"

namespace tokamak {
namespace {

#if defined(__AVX512F__)
constexpr int kSumsAtOnce = 16;  // accumulators that fit the registers
#else
constexpr int kSumsAtOnce = 4;
#endif

// f.operator()<I>() for I = 0 … N - 1: arrays that are indexed by it stay in registers.
template <int N, typename F>
TOKAMAK_INLINE void unrolled(F f) {
  [&]<int... I>(std::integer_sequence<int, I...>) __attribute__((always_inline)) {
    (f.template operator()<I>(), ...);
  }
  (std::make_integer_sequence<int, N>());
}

TOKAMAK_INLINE F16x soft_cap(F16x s, float cap) {
  return simd::mul(simd::tanh(simd::div(s, simd::set1(cap))), simd::set1(cap));
}

// Scores [keys][16] of invisible pairs become kMaskedScore.
TOKAMAK_INLINE void mask_scores(const TileMask& m, const float* places, int keys, float* scores) {
  const F16x place = simd::load(places), masked = simd::set1(kMaskedScore);
  const F16x oldest = m.window > 0 ? simd::sub(place, simd::set1(m.window - 1)) : simd::set1(-1.0f);
  for (int j = 0; j < keys; ++j) {
    const F16x key = simd::set1(m.key + static_cast<float>(j));
    F16x s = simd::load(scores + j * 16);
    s = simd::select_le(key, place, s, masked);
    simd::store(scores + j * 16, simd::select_le(oldest, key, s, masked));
  }
}

// ALiBi: a row's slope times the distance from its place to each key's, below zero.
TOKAMAK_INLINE void bias_scores(const TileMask& m, const float* slopes, int keys, float* scores) {
  const F16x slope = simd::load(slopes), place = simd::load(m.places);
  for (int j = 0; j < keys; ++j) {
    const F16x key = simd::set1(m.key + static_cast<float>(j));
    const F16x s = simd::load(scores + j * 16);
    simd::store(scores + j * 16, simd::fma(slope, simd::sub(key, place), s));
  }
}

// Sixteen consecutive keys of one row: `distance` to the first.
TOKAMAK_INLINE F16x biased(F16x s, float slope, float distance) {
  alignas(64) constexpr float kCount[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  return simd::fma(simd::set1(slope), simd::add(simd::load(kCount), simd::set1(distance)), s);
}

// Sixteen rows of sixteen 32-bit lanes, in place.
#if defined(__AVX512F__)
TOKAMAK_INLINE void transpose_lanes(__m512i (&r)[16]) {
  __m512i t[16];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    t[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {  // r[4 i + c]: column c of each quarter of rows 4 i … 4 i + 3
    r[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
    r[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
    r[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
    r[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
  }
#pragma GCC unroll 4
  for (int c = 0; c < 4; ++c) {
    const __m512i a = _mm512_shuffle_i32x4(r[c], r[4 + c], 0x88);
    const __m512i b = _mm512_shuffle_i32x4(r[c], r[4 + c], 0xdd);
    const __m512i d = _mm512_shuffle_i32x4(r[8 + c], r[12 + c], 0x88);
    const __m512i e = _mm512_shuffle_i32x4(r[8 + c], r[12 + c], 0xdd);
    t[c] = _mm512_shuffle_i32x4(a, d, 0x88);
    t[8 + c] = _mm512_shuffle_i32x4(a, d, 0xdd);
    t[4 + c] = _mm512_shuffle_i32x4(b, e, 0x88);
    t[12 + c] = _mm512_shuffle_i32x4(b, e, 0xdd);
  }
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) r[i] = t[i];
}

void transpose(const float* in, int64_t in_ld, float* out, int64_t out_ld) {
  __m512i r[16];
  for (int i = 0; i < 16; ++i) r[i] = _mm512_loadu_si512(in + i * in_ld);
  transpose_lanes(r);
  for (int i = 0; i < 16; ++i) _mm512_storeu_si512(out + i * out_ld, r[i]);
}
#else
void transpose(const float* in, int64_t in_ld, float* out, int64_t out_ld) {
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < 16; ++j) out[j * out_ld + i] = in[i * in_ld + j];
}
#endif

}  // namespace
}  // namespace tokamak
