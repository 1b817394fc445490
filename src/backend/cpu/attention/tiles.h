// The arithmetic of attention tiles. Prefill holds sixteen queries in the lanes of a vector, so
// that maxima and sums of the softmax never cross lanes; decode holds sixteen dimensions.
#pragma once
#include "backend/cpu/attention/heads.h"

namespace tokamak {
namespace {

#if defined(__AVX512F__)
constexpr int kSumsAtOnce = 16;  // accumulators that fit the registers
#else
constexpr int kSumsAtOnce = 4;
#endif

TOKAMAK_INLINE F16x soft_cap(F16x s, float cap) {
  return simd::mul(simd::tanh(simd::div(s, simd::set1(cap))), simd::set1(cap));
}

// scores[key][16 queries] = q · k
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

TOKAMAK_INLINE void mask_scores(const PrefillTile& t) {
  const F16x query = simd::add(simd::iota(), simd::set1(t.query));
  const F16x oldest = t.window > 0 ? simd::sub(query, simd::set1(t.window - 1)) : simd::set1(-1.0f);
  const F16x masked = simd::set1(kMaskedScore);
  for (int j = 0; j < t.keys; ++j) {
    const F16x key = simd::set1(t.key + static_cast<float>(j));
    F16x s = simd::load(t.scores + j * 16);
    s = simd::select_le(key, query, s, masked);
    simd::store(t.scores + j * 16, simd::select_le(oldest, key, s, masked));
  }
}

// Scores become weights; returns the factor on what was summed before.
TOKAMAK_INLINE F16x prefill_softmax(const PrefillTile& t) {
  if (t.softcap > 0)
    for (int j = 0; j < t.keys; ++j)
      simd::store(t.scores + j * 16, soft_cap(simd::load(t.scores + j * 16), t.softcap));
  if (t.masked) mask_scores(t);
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

// Scores of H heads against sixteen keys: each row of keys is read once for all of them.
template <int LD, int H>
TOKAMAK_INLINE void decode_scores(const DecodeTile& t, int head) {
  constexpr int kRows = kSumsAtOnce / H >= 16  ? 16
                        : kSumsAtOnce / H >= 4 ? 4
                        : kSumsAtOnce / H >= 2 ? 2
                                               : 1;
  const F16x last = simd::set1(static_cast<float>(t.keys));
  for (int j = 0; j < t.keys; j += 16) {
    F16x s[H][16];
#pragma GCC unroll 16
    for (int i = 0; i < 16; i += kRows) {
      F16x part[H][kRows];
      for (auto& row : part)
        for (F16x& v : row) v = simd::zero();
      const float* k = t.k + (j + i) * LD;
      const float* q = t.q + head * LD;
      for (int64_t d = 0; d < t.head_dim; d += 16) {
#pragma GCC unroll 16
        for (int r = 0; r < kRows; ++r) {
          const F16x key = simd::load(k + r * LD + d);
#pragma GCC unroll 4
          for (int h = 0; h < H; ++h)
            part[h][r] = simd::fma(simd::load(q + h * LD + d), key, part[h][r]);
        }
      }
      for (int h = 0; h < H; ++h)
        for (int r = 0; r < kRows; ++r) s[h][i + r] = part[h][r];
    }
    const F16x place = simd::add(simd::iota(), simd::set1(static_cast<float>(j + 1)));
    for (int h = 0; h < H; ++h) {
      F16x all = simd::sums_of(s[h]);
      if (t.softcap > 0) all = soft_cap(all, t.softcap);
      all = simd::select_le(place, last, all, simd::set1(kMaskedScore));
      simd::store(t.scores + (head + h) * kKeyTile + j, all);
    }
  }
}

// Scores of one head become weights; its output so far shrinks to the new maximum.
template <int LD>
TOKAMAK_INLINE void decode_softmax(const DecodeTile& t, int head) {
  float* scores = t.scores + head * kKeyTile;
  F16x top = simd::set1(t.max[head]);
  for (int j = 0; j < t.keys; j += 16) top = simd::max(simd::load(scores + j), top);
  const float max = simd::max_of(top);
  F16x sum = simd::zero();
  for (int j = 0; j < t.keys; j += 16) {
    const F16x p = simd::exp(simd::sub(simd::load(scores + j), simd::set1(max)));
    simd::store(scores + j, p);
    sum = simd::add(sum, p);
  }
  alignas(64) float shrink[16];
  simd::store(shrink, simd::exp(simd::set1(t.max[head] - max)));
  t.sum[head] = t.sum[head] * shrink[0] + simd::sum(sum);
  t.max[head] = max;
  float* out = t.out + head * LD;
  for (int64_t d = 0; d < t.head_dim; d += 16)
    simd::store(out + d, simd::mul(simd::load(out + d), simd::set1(shrink[0])));
}

// out[head … head + H) += weights · v
template <int LD, int H>
TOKAMAK_INLINE void decode_values(const DecodeTile& t, int head) {
  for (int64_t c = 0; c < t.head_dim; c += 16) {
    F16x s[2][H];
    for (int h = 0; h < H; ++h) {
      s[0][h] = simd::load(t.out + (head + h) * LD + c);
      s[1][h] = simd::zero();
    }
    const float *p = t.scores + head * kKeyTile, *v = t.v + c;
    // Two keys at a time, in sums of their own; a tile's missing last key is zero.
    for (int j = 0; j < t.keys; j += 2) {
      const F16x even = simd::load(v + j * LD), odd = simd::load(v + (j + 1) * LD);
#pragma GCC unroll 4
      for (int h = 0; h < H; ++h) {
        s[0][h] = simd::fma(even, simd::set1(p[h * kKeyTile + j]), s[0][h]);
        s[1][h] = simd::fma(odd, simd::set1(p[h * kKeyTile + j + 1]), s[1][h]);
      }
    }
    for (int h = 0; h < H; ++h)
      simd::store(t.out + (head + h) * LD + c, simd::add(s[0][h], s[1][h]));
  }
}

template <int LD, int H>
void decode_heads(const DecodeTile& t, int head) {
  decode_scores<LD, H>(t, head);
  for (int h = 0; h < H; ++h) decode_softmax<LD>(t, head + h);
  decode_values<LD, H>(t, head);
}

template <int LD>
void decode_of(const DecodeTile& t) {
  int h = 0;
  for (; h + 4 <= t.heads; h += 4) decode_heads<LD, 4>(t, h);
  if (t.heads - h == 3)
    decode_heads<LD, 3>(t, h);
  else if (t.heads - h == 2)
    decode_heads<LD, 2>(t, h);
  else if (t.heads - h == 1)
    decode_heads<LD, 1>(t, h);
}

void decode(const DecodeTile& t) {
  if (t.ld == 64)
    decode_of<64>(t);
  else if (t.ld == 128)
    decode_of<128>(t);
  else
    decode_of<256>(t);
}

constexpr AttentionKernels kAttentionKernels = {angles,  prepare_head, narrow, widen,
                                                prefill, decode,       scale};

}  // namespace
}  // namespace tokamak
