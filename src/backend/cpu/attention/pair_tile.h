// Prefill over AMX tile registers: S^T = K Q^T and O^T = V^T P^T in bf16, summed in float32, so
// that rows stay in lanes from the scores to the output. The softmax between them is AVX-512.
#pragma once
#include "backend/cpu/amx/tiles.h"
#include "backend/cpu/attention/lanes.h"

namespace tokamak {
namespace {

constexpr int kTileElems = 512;            // bf16 of a tile register
constexpr int kKeySteps = kPairTile / 32;  // tile registers along the keys of V
constexpr float kLog2E = 1.44269504f;
constexpr float kRise = 8;  // maxima move only when they rise by more: weights stay below 2^8

// Two vectors of float32 as bf16 pairs: the first in the lower halves. Rounds to nearest, ties up.
TOKAMAK_INLINE __m512i pairs_of(F16x even, F16x odd) {
  const __m512i half = _mm512_set1_epi32(0x8000);
  const __m512i lo = _mm512_srli_epi32(_mm512_add_epi32(_mm512_castps_si512(even.v), half), 16);
  const __m512i hi = _mm512_add_epi32(_mm512_castps_si512(odd.v), half);
  return _mm512_mask_blend_epi16(0xaaaaaaaa, lo, hi);
}

// Columns [d, d + 32) of a row as bf16, in order; past n: zero.
TOKAMAK_INLINE __m512i row_pairs(const float* row, int64_t d, int64_t n) {
  const auto part = [ row, n ](int64_t at) __attribute__((always_inline)) {
    return at >= n ? simd::zero() : load_some(row + at, n - at);
  };
#if defined(__AVX512BF16__)
  return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(part(d + 16).v, part(d).v));
#else
  const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  const __m512 a = part(d).v, b = part(d + 16).v;
  const __m512 lo = _mm512_permutex2var_ps(a, even, b);
  const __m512 hi = _mm512_permutex2var_ps(a, _mm512_add_epi32(even, _mm512_set1_epi32(1)), b);
  return pairs_of({lo}, {hi});
#endif
}

void begin_pairs() { tiles::configure(); }
void end_pairs() { tiles::release(); }

void pack_queries(const float* rows, int64_t ld, int64_t head_dim, uint16_t* q) {
  for (int64_t d = 0; d < head_dim; d += 32, q += kTileElems) {
    __m512i r[16];
    for (int i = 0; i < 16; ++i) r[i] = row_pairs(rows + i * ld, d, head_dim);
    transpose_lanes(r);
    for (int i = 0; i < 16; ++i) _mm512_storeu_si512(q + i * 32, r[i]);
  }
}

TOKAMAK_INLINE void pack_values(const float* v, int64_t ld, int keys, int64_t d, int64_t head_dim,
                                uint16_t* pv) {
  const int64_t n = head_dim - d;
  __m512i r[16];
  for (int j = 0; j < 16; ++j) {
    const auto key = [&](int i) __attribute__((always_inline)) {
      return i < keys && n > 0 ? load_some(v + i * ld + d, n) : simd::zero();
    };
    r[j] = pairs_of(key(2 * j), key(2 * j + 1));
  }
  transpose_lanes(r);
  for (int j = 0; j < 16; ++j) _mm512_storeu_si512(pv + j * 32, r[j]);
}

void pack_keys(const float* k, const float* v, int64_t ld, int keys, int64_t head_dim, uint16_t* pk,
               uint16_t* pv) {
  const int64_t steps = (head_dim + 31) / 32;
  const int all = (keys + 31) / 32 * 32;
  for (int j = 0; j < all; ++j) {
    uint16_t* to = pk + (j / 16 * steps) * kTileElems + j % 16 * 32;
    for (int64_t s = 0; s < steps; ++s)
      _mm512_storeu_si512(to + s * kTileElems, j < keys ? row_pairs(k + j * ld, 32 * s, head_dim)
                                                        : _mm512_setzero_si512());
  }
  for (int64_t d = 0; d < 2 * steps; ++d)
    for (int j = 0; j < all; j += 32)
      pack_values(v + j * ld, ld, keys - j, 16 * d, head_dim,
                  pv + (d * kKeySteps + j / 32) * kTileElems);
}

// 2^x for x up to 127, to 1e-4 (a bf16 has 4e-3); exactly 1 at 0; 0 far below.
TOKAMAK_INLINE F16x exp2_fast(F16x x) {
  const __m512 f = _mm512_reduce_ps(x.v, 1);  // x - floor(x)
  F16x p = simd::fma({f}, simd::set1(0.07706744f), simd::set1(0.22764456f));
  p = simd::fma(p, {f}, simd::set1(0.6951169f));
  p = simd::fma(p, {f}, simd::set1(1.0f));
  return {_mm512_scalef_ps(p.v, x.v)};  // by 2^floor(x)
}

// scores of 32 keys for one or two vectors of rows
template <int V>
TOKAMAK_INLINE void pair_scores(const PairTile& t, int block) {
  const uint16_t* k = t.k + int64_t{2} * block * t.steps * kTileElems;
  const int64_t next = int64_t{t.steps} * kTileElems;
  tiles::zero<0>();
  tiles::zero<2>();
  if (V == 2) tiles::zero<1>(), tiles::zero<3>();
  for (int64_t s = 0; s < t.steps; ++s) {
    tiles::load<4>(k + s * kTileElems);
    tiles::load<6>(t.q + s * kTileElems);
    tiles::dot_bf16<0, 4, 6>();
    if (V == 2) {
      tiles::load<7>(t.q + next + s * kTileElems);
      tiles::dot_bf16<1, 4, 7>();
    }
    tiles::load<5>(k + next + s * kTileElems);
    tiles::dot_bf16<2, 5, 6>();
    if (V == 2) tiles::dot_bf16<3, 5, 7>();
  }
  float* to = t.scores + block * 32 * 16;
  tiles::store<0>(to);
  tiles::store<2>(to + 16 * 16);
  if (V == 2) {
    tiles::store<1>(to + kPairTile * 16);
    tiles::store<3>(to + kPairTile * 16 + 16 * 16);
  }
}

TOKAMAK_INLINE void cap_scores(float cap, int keys, float* scores) {
  const F16x in = simd::set1(1 / (cap * kLog2E)), out = simd::set1(cap * kLog2E);
  for (int j = 0; j < keys; ++j)
    simd::store(scores + j * 16,
                simd::mul(simd::tanh(simd::mul(simd::load(scores + j * 16), in)), out));
}

// The new maximum of a vector of rows: the old one where the scores rise little. Output and sum so
// far are scaled to it.
TOKAMAK_INLINE F16x raise_maximum(const PairTile& t, int vector, const float* scores) {
  F16x top[4] = {simd::load(scores), simd::load(scores), simd::load(scores), simd::load(scores)};
  for (int j = 0; j < t.keys; j += 4)
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) top[i] = simd::max(simd::load(scores + (j + i) * 16), top[i]);
  const F16x most = simd::max(simd::max(top[0], top[1]), simd::max(top[2], top[3]));
  const F16x before = simd::load(t.max + vector * 16);
  const __mmask16 rises =
      _mm512_cmp_ps_mask(most.v, simd::add(before, simd::set1(kRise)).v, _CMP_GT_OQ);
  if (rises == 0) return before;
  const F16x max = {_mm512_mask_blend_ps(rises, before.v, most.v)};
  const F16x factor = exp2_fast(simd::sub(before, max));
  simd::store(t.max + vector * 16, max);
  simd::store(t.sum + vector * 16, simd::mul(simd::load(t.sum + vector * 16), factor));
  float* out = t.out + int64_t{vector} * 32 * t.steps * 16;
  for (int d = 0; d < 32 * t.steps; ++d)
    simd::store(out + d * 16, simd::mul(simd::load(out + d * 16), factor));
  return max;
}

// Scores of a vector of rows become weights in pairs of keys.
TOKAMAK_INLINE void pair_softmax(const PairTile& t, int vector) {
  float* scores = t.scores + vector * kPairTile * 16;
  if (t.softcap > 0) cap_scores(t.softcap, t.keys, scores);
  if (t.mask.needed) mask_scores(t.mask, t.mask.places + vector * 16, t.keys, scores);
  const F16x max = raise_maximum(t, vector, scores);
  F16x even = simd::zero(), odd = simd::zero();
  uint16_t* weights = t.weights + vector * kPairTile * 16;
#pragma GCC unroll 4
  for (int j = 0; j < t.keys; j += 2) {
    const F16x a = exp2_fast(simd::sub(simd::load(scores + j * 16), max));
    const F16x b = exp2_fast(simd::sub(simd::load(scores + j * 16 + 16), max));
    even = simd::add(even, a);
    odd = simd::add(odd, b);
    _mm512_storeu_si512(weights + j * 16, pairs_of(a, b));
  }
  float* sum = t.sum + vector * 16;
  simd::store(sum, simd::add(simd::load(sum), simd::add(even, odd)));
}

// out[32 dimensions][16 rows] += V^T P^T
template <int V>
TOKAMAK_INLINE void pair_values(const PairTile& t, int step) {
  float* out = t.out + step * 32 * 16;
  float* second = out + int64_t{32} * t.steps * 16;
  const uint16_t* v = t.v + int64_t{2} * step * kKeySteps * kTileElems;
  tiles::load<0>(out);
  tiles::load<2>(out + 16 * 16);
  if (V == 2) tiles::load<1>(second), tiles::load<3>(second + 16 * 16);
  for (int b = 0; b < t.keys / 32; ++b) {
    tiles::load<4>(v + b * kTileElems);
    tiles::load<6>(t.weights + b * kTileElems);
    tiles::dot_bf16<0, 4, 6>();
    if (V == 2) {
      tiles::load<7>(t.weights + kPairTile * 16 + b * kTileElems);
      tiles::dot_bf16<1, 4, 7>();
    }
    tiles::load<5>(v + (kKeySteps + b) * kTileElems);
    tiles::dot_bf16<2, 5, 6>();
    if (V == 2) tiles::dot_bf16<3, 5, 7>();
  }
  tiles::store<0>(out);
  tiles::store<2>(out + 16 * 16);
  if (V == 2) tiles::store<1>(second), tiles::store<3>(second + 16 * 16);
}

template <int V>
void pair_tile_of(const PairTile& t) {
  for (int b = 0; b < t.keys / 32; ++b) pair_scores<V>(t, b);
  for (int v = 0; v < V; ++v) pair_softmax(t, v);
  for (int s = 0; s < t.steps; ++s) pair_values<V>(t, s);
}

void pair_tile(const PairTile& t) {
  if (t.vectors == 2)
    pair_tile_of<2>(t);
  else
    pair_tile_of<1>(t);
}

constexpr PairKernels kPairs = {begin_pairs, end_pairs, pack_queries, pack_keys, pair_tile};

}  // namespace
}  // namespace tokamak
