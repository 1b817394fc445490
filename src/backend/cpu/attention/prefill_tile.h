// Prefill in float32: sixteen rows in the lanes of a vector, so that maxima and sums of the softmax
// never cross lanes.
#pragma once
#include "backend/cpu/attention/lanes.h"

namespace tokamak {
namespace {

// scores[key][16 rows] = q · k
template <int LD>
TOKAMAK_INLINE void prefill_scores(const PrefillTile& t) {
  for (int j = 0; j < t.keys; j += kSumsAtOnce) {
    F16x s[kSumsAtOnce];
    for (F16x& v : s) v = simd::zero();
    const float* k = t.k + j * LD;
    for (int64_t d = 0; d < t.head_dim; ++d) {
      const F16x q = simd::load(t.q + d * 16);
#pragma GCC unroll 16
      for (int i = 0; i < kSumsAtOnce; ++i) s[i] = simd::fma(q, simd::set1(k[i * LD + d]), s[i]);
    }
    for (int i = 0; i < kSumsAtOnce; ++i) simd::store(t.scores + (j + i) * 16, s[i]);
  }
}

// Scores become weights; returns the factor on what was summed before.
TOKAMAK_INLINE F16x prefill_softmax(const PrefillTile& t) {
  if (t.softcap > 0)
    for (int j = 0; j < t.keys; ++j)
      simd::store(t.scores + j * 16, soft_cap(simd::load(t.scores + j * 16), t.softcap));
  if (t.slopes != nullptr) bias_scores(t.mask, t.slopes, t.keys, t.scores);
  if (t.mask.needed) mask_scores(t.mask, t.mask.places, t.keys, t.scores);
  const F16x before = simd::load(t.max);
  F16x top = before;
  for (int j = 0; j < t.keys; ++j) top = simd::max(simd::load(t.scores + j * 16), top);
  F16x sum = simd::zero();
  for (int j = 0; j < t.keys; ++j) {
    const F16x p = simd::exp(simd::sub(simd::load(t.scores + j * 16), top));
    simd::store(t.scores + j * 16, p);
    sum = simd::add(sum, p);
  }
  const F16x shrink = simd::exp(simd::sub(before, top));
  simd::store(t.max, top);
  simd::store(t.sum, simd::fma(simd::load(t.sum), shrink, sum));
  return shrink;
}

// out[16][…] = out * shrink + weights · v
template <int LD>
TOKAMAK_INLINE void prefill_values(const PrefillTile& t, F16x shrink) {
  alignas(64) float factor[16];
  simd::store(factor, shrink);
  for (int64_t c = 0; c < t.head_dim; c += 16)
    for (int r = 0; r < 16; r += kSumsAtOnce) {
      F16x s[kSumsAtOnce];
#pragma GCC unroll 16
      for (int i = 0; i < kSumsAtOnce; ++i)
        s[i] = simd::mul(simd::load(t.out + (r + i) * LD + c), simd::set1(factor[r + i]));
      const float *v = t.v + c, *p = t.scores + r;
      for (int j = 0; j < t.keys; ++j, v += LD, p += 16) {
        const F16x value = simd::load(v);
#pragma GCC unroll 16
        for (int i = 0; i < kSumsAtOnce; ++i) s[i] = simd::fma(value, simd::set1(p[i]), s[i]);
      }
#pragma GCC unroll 16
      for (int i = 0; i < kSumsAtOnce; ++i) simd::store(t.out + (r + i) * LD + c, s[i]);
    }
}

template <int LD>
void prefill_of(const PrefillTile& t) {
  prefill_scores<LD>(t);
  prefill_values<LD>(t, prefill_softmax(t));
}

void prefill(const PrefillTile& t) {
  if (t.ld == 64)
    prefill_of<64>(t);
  else if (t.ld == 128)
    prefill_of<128>(t);
  else
    prefill_of<256>(t);
}

}  // namespace
}  // namespace tokamak
