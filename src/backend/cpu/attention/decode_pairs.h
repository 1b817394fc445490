// Decode over AMX tile registers, for groups of heads that share their keys: sixteen keys by
// sixteen heads at once, bf16 in, float32 sums. Scores lie with the heads in the lanes of a vector,
// so the softmax never crosses lanes; it works on integers, as in pair_tile.h.
#pragma once
#include "backend/cpu/attention/pair_tile.h"

namespace tokamak {
namespace {

constexpr int kFewestHeads = 3;  // with fewer the float32 kernel reads as fast
constexpr int kStepsMax = kMaxHeadDim / 32;

// What one tile of keys becomes.
struct DecodeScratch {
  alignas(64) uint16_t q[kStepsMax * kTileElems];  // [step][16 pairs of dimensions][16 heads][2]
  alignas(64) uint16_t k[kKeyTile * kMaxHeadDim];  // [key][32 * steps]
  alignas(64) uint16_t v[kKeyTile * kMaxHeadDim];  // [2 * steps][keys / 32][16 pairs][16][2]
  alignas(64) float scores[kKeyTile * 16];         // [key][head]
  alignas(64) uint16_t weights[kKeyTile / 32 * kTileElems];  // [keys / 32][16 heads][32 keys]
  alignas(64) float out[2 * kStepsMax * 256];                // [2 * steps][16 heads][16 dimensions]
};

TOKAMAK_INLINE int64_t steps_of(const DecodeTile& t) { return (t.head_dim + 31) / 32; }

void pack_heads(const DecodeTile& t, uint16_t* q) {
  const F16x unit = simd::set1(kPairUnit);
  __m512i r[16];
  for (int64_t s = 0; s < steps_of(t); ++s, q += kTileElems) {
#pragma GCC unroll 16
    for (int h = 0; h < 16; ++h) {
      const float* row = t.q + h * t.ld + 32 * s;
      r[h] = h < t.heads
                 ? in_order(simd::mul(simd::load(row), unit), simd::mul(simd::load(row + 16), unit))
                 : _mm512_setzero_si512();
    }
    transpose_lanes(r);
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) _mm512_store_si512(q + i * 32, r[i]);
  }
}

// Thirty-two elements of a cache row from `at` on as bf16; past n: zero.
template <DType T>
TOKAMAK_INLINE __m512i row_part(const std::byte* row, int64_t at, int64_t n) {
  if constexpr (T == DType::bf16)
    if (at + 32 <= n) return _mm512_loadu_si512(row + 2 * at);
  return in_order(cached<T>(row, at, n), cached<T>(row, at + 16, n));
}

template <DType T>
void rows_of_keys(const DecodeTile& t, uint16_t* k, int lines) {
  const int64_t n = t.head_dim, bytes = bytes_of_row<T>(n);
  for (int r = 0; r < t.run_count; ++r) {
    const KeyRun& run = t.runs[r];
    for (int i = 0; i < run.keys; ++i) {
      if (i % 4 == 0) fetch(*t.ahead, lines);
      for (int64_t at = 0; at < n; at += 32, k += 32)
        _mm512_store_si512(k, row_part<T>(run.k + i * bytes, at, n));
    }
  }
}

// Keys 2 j and 2 j + 1 side by side, dimensions in order: of 32 dimensions the first half and the
// second.
TOKAMAK_INLINE void side_by_side(__m512i a, __m512i b, uint16_t* first, uint16_t* second) {
  alignas(64) constexpr uint16_t kLow[32] = {0,  32, 1,  33, 2,  34, 3,  35, 4,  36, 5,
                                             37, 6,  38, 7,  39, 8,  40, 9,  41, 10, 42,
                                             11, 43, 12, 44, 13, 45, 14, 46, 15, 47};
  const __m512i low = _mm512_load_si512(kLow);
  const __m512i high = _mm512_add_epi16(low, _mm512_set1_epi16(16));
  _mm512_store_si512(first, _mm512_permutex2var_epi16(a, low, b));
  _mm512_store_si512(second, _mm512_permutex2var_epi16(a, high, b));
}

template <DType T>
void pairs_of_values(const DecodeTile& t, uint16_t* v, int lines) {
  const int64_t n = t.head_dim, bytes = bytes_of_row<T>(n);
  constexpr int64_t kPart = kKeyTile / 32 * kTileElems;
  int key = 0;
  const std::byte* last = nullptr;  // of an odd run, waiting for its neighbour
  const auto put = [&](const std::byte* a, const std::byte* b) __attribute__((always_inline)) {
    uint16_t* to = v + key / 32 * kTileElems + key % 32 / 2 * 32;
    for (int64_t at = 0; at < n; at += 32, to += 2 * kPart)
      side_by_side(row_part<T>(a, at, n),
                   b == nullptr ? _mm512_setzero_si512() : row_part<T>(b, at, n), to, to + kPart);
    key += 2;
  };
  for (int r = 0; r < t.run_count; ++r) {
    const KeyRun& run = t.runs[r];
    int i = 0;
    if (last != nullptr) put(last, run.v), last = nullptr, i = 1;
    for (; i + 2 <= run.keys; i += 2) {
      if (i % 4 < 2) fetch(*t.ahead, lines);
      put(run.v + i * bytes, run.v + (i + 1) * bytes);
    }
    if (i < run.keys) last = run.v + i * bytes;
  }
  if (last != nullptr) put(last, nullptr);
  for (; key % 32 != 0; key += 2) {  // what has weight zero must not be a NaN
    uint16_t* to = v + key / 32 * kTileElems + key % 32 / 2 * 32;
    for (int64_t part = 0; part < 2 * steps_of(t); ++part, to += kPart)
      _mm512_store_si512(to, _mm512_setzero_si512());
  }
}

// Behind the last key a block of sixteen holds what an earlier tile left, or nothing: rows of their
// own that nobody reads.
void tile_scores(const DecodeTile& t, const DecodeScratch& s, float* scores) {
  const int64_t steps = steps_of(t);
  const auto row = static_cast<size_t>(steps) * 64;
  for (int key = 0; key < t.keys; key += 32) {
    const uint16_t* k = s.k + key * steps * 32;
    tiles::zero<0>();
    tiles::zero<1>();
    for (int64_t i = 0; i < steps; ++i) {
      tiles::load<3>(s.q + i * kTileElems);
      tiles::load<2>(k + i * 32, row);
      tiles::dot_bf16<0, 2, 3>();
      tiles::load<2>(k + (16 * steps + i) * 32, row);
      tiles::dot_bf16<1, 2, 3>();
    }
    tiles::store<0>(scores + key * 16);
    tiles::store<1>(scores + (key + 16) * 16);
  }
}

// One pair of keys: bf16 weights, from scores whose highest is to be kWeightOne.
TOKAMAK_INLINE __m512i pair_weights(const float* scores, __m512 start, bool second) {
  const __m512 none = _mm512_setzero_ps();
  const __m512 a = _mm512_max_ps(_mm512_add_ps(_mm512_load_ps(scores), start), none);
  const __m512i lo = _mm512_cvtps_epi32(a);
  __m512i x = lo;
  if (second) {
    const __m512 b = _mm512_max_ps(_mm512_add_ps(_mm512_load_ps(scores + 16), start), none);
    x = _mm512_or_si512(lo, _mm512_slli_epi32(_mm512_cvtps_epi32(b), 16));
  }
  const __m512i bend = _mm512_permutexvar_epi16(_mm512_srli_epi16(x, 2), _mm512_load_si512(kBend));
  return _mm512_sub_epi16(x, bend);
}

// Scores become weights; returns the factor on what was summed before.
F16x tile_softmax(const DecodeTile& t, float* scores, uint16_t* weights) {
  const F16x unit = simd::set1(kPairUnit), before = simd::mul(load_some(t.max, t.heads), unit);
  if (t.softcap > 0)
    for (int j = 0; j < t.keys; ++j)
      simd::store(scores + j * 16, capped(simd::load(scores + j * 16), t.softcap));
  F16x top = before, other = before;
  int j = 0;
  for (; j + 2 <= t.keys; j += 2) {
    top = simd::max(simd::load(scores + j * 16), top);
    other = simd::max(simd::load(scores + j * 16 + 16), other);
  }
  if (j < t.keys) top = simd::max(simd::load(scores + j * 16), top);
  top = simd::max(other, top);
  const __m512 start = _mm512_sub_ps(_mm512_set1_ps(kWeightOne), top.v);
  __m512 sum = _mm512_setzero_ps();
  for (int key = 0; key < t.keys; key += 32, weights += kTileElems) {
    __m512i r[16];
#pragma GCC unroll 16
    for (int p = 0; p < 16; ++p) {
      const int at = key + 2 * p;
      r[p] = at < t.keys ? pair_weights(scores + at * 16, start, at + 1 < t.keys)
                         : _mm512_setzero_si512();
      sum = add_pairs(sum, r[p]);
    }
    transpose_lanes(r);
#pragma GCC unroll 16
    for (int h = 0; h < 16; ++h) _mm512_store_si512(weights + h * 32, r[h]);
  }
  const F16x natural = simd::set1(1 / kPairUnit);
  const F16x shrink = simd::exp(simd::mul(simd::sub(before, top), natural));
  store_some(t.max, simd::mul(top, natural), t.heads);
  store_some(t.sum, simd::fma(load_some(t.sum, t.heads), shrink, {sum}), t.heads);
  return shrink;
}

void tile_values(const DecodeTile& t, const DecodeScratch& s, float* out) {
  const int blocks = (t.keys + 31) / 32;
  for (int64_t part = 0; part < 2 * steps_of(t); part += 2, out += 512) {
    const uint16_t* v = s.v + part * (kKeyTile / 32) * kTileElems;
    tiles::zero<0>();
    tiles::zero<1>();
    for (int b = 0; b < blocks; ++b, v += kTileElems) {
      tiles::load<2>(s.weights + b * kTileElems);
      tiles::load<3>(v);
      tiles::dot_bf16<0, 2, 3>();
      tiles::load<3>(v + kKeyTile / 32 * kTileElems);
      tiles::dot_bf16<1, 2, 3>();
    }
    tiles::store<0>(out);
    tiles::store<1>(out + 256);
  }
}

template <DType T>
void decode_tile_in_pairs(const DecodeTile& t) {
  DecodeScratch s;
  const int lines = lines_of(*t.ahead, (t.keys + 3) / 4);
  pack_heads(t, s.q);
  rows_of_keys<T>(t, s.k, lines);
  pairs_of_values<T>(t, s.v, lines);
  tiles::configure();
  tile_scores(t, s, s.scores);
  alignas(64) float factor[16];
  simd::store(factor, tile_softmax(t, s.scores, s.weights));
  tile_values(t, s, s.out);
  tiles::release();
  for (int h = 0; h < t.heads; ++h)
    for (int64_t d = 0; d < t.head_dim; d += 16) {
      float* out = t.out + h * t.ld + d;
      simd::store(out, simd::fma(simd::load(out), simd::set1(factor[h]),
                                 simd::load(s.out + d * 16 + h * 16)));
    }
  fetch(*t.ahead, 1 << 20);  // what is left
}

void decode_in_pairs(const DecodeTile& t) {
  const bool fits = t.heads >= kFewestHeads && t.heads <= 16;
  if (fits && t.dtype == DType::f16) return decode_tile_in_pairs<DType::f16>(t);
  if (fits && t.dtype == DType::bf16) return decode_tile_in_pairs<DType::bf16>(t);
  decode(t);
}

}  // namespace
}  // namespace tokamak
