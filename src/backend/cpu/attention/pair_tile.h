// Prefill over AMX tile registers: S = Q K^T and O = P V in bf16, summed in float32. The softmax
// between them is AVX-512 and works on integers: scores are counted in 128ths of a power of two, so
// that a score above its row's offset, rounded, is a bf16 but for the bend of its mantissa. Offsets
// enter as what the tile sums begin with; a row's is its score with its own key, and moves only
// when weights leave bf16's range.
#pragma once
#include "backend/cpu/amx/tiles.h"
#include "backend/cpu/attention/decode_tile.h"

namespace tokamak {
namespace {

constexpr int kTileElems = 512;          // bf16 of a tile register
constexpr int kBlock = 32;               // keys whose scores are computed at once
constexpr float kWeightOne = 127 * 128;  // the bf16 1.0 as an integer
constexpr float kMostSum = 0x1p64f;      // of a lane of a row's weights

// round(x - 128 (2^(x / 128) - 1)), the mean of four x: what a mantissa of 128ths lies below x.
alignas(64) constexpr uint16_t kBend[32] = {0,  2,  3,  4,  5,  6,  7,  7,  8,  9,  9,
                                            10, 10, 10, 11, 11, 11, 11, 11, 11, 10, 10,
                                            10, 9,  8,  8,  7,  6,  5,  4,  2,  1};

#if !defined(__AVX512BF16__)
// Two vectors of float32 as bf16 pairs: the first in the lower halves. Rounds to nearest, ties up.
TOKAMAK_INLINE __m512i pairs_of(__m512 even, __m512 odd) {
  const __m512i half = _mm512_set1_epi32(0x8000);
  const __m512i lo = _mm512_srli_epi32(_mm512_add_epi32(_mm512_castps_si512(even), half), 16);
  const __m512i hi = _mm512_add_epi32(_mm512_castps_si512(odd), half);
  return _mm512_mask_blend_epi16(0xaaaaaaaa, lo, hi);
}
#endif

// Thirty-two floats as bf16 in order.
TOKAMAK_INLINE __m512i in_order(F16x a, F16x b) {
#if defined(__AVX512BF16__)
  return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(b.v, a.v));
#else
  const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
  return pairs_of(_mm512_permutex2var_ps(a.v, even, b.v), _mm512_permutex2var_ps(a.v, odd, b.v));
#endif
}

// Sixteen floats of two rows as bf16 pairs.
TOKAMAK_INLINE __m512i in_pairs(F16x a, F16x b) {
#if defined(__AVX512BF16__)
  const __m512i turns = _mm512_add_epi32(
      _mm512_set1_epi32(0x00100000),
      _mm512_mullo_epi32(_mm512_set1_epi32(0x00010001),
                         _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)));
  return _mm512_permutexvar_epi16(turns, in_order(a, b));
#else
  return pairs_of(a.v, b.v);
#endif
}

// acc + the bf16 of each pair
TOKAMAK_INLINE __m512 add_pairs(__m512 acc, __m512i p) {
#if defined(__AVX512BF16__)
  const __m512i ones = _mm512_set1_epi16(0x3f80);
  return _mm512_dpbf16_ps(acc, reinterpret_cast<__m512bh>(p), reinterpret_cast<__m512bh>(ones));
#else
  const __m512i high = _mm512_set1_epi32(static_cast<int>(0xffff0000u));
  const __m512 even = _mm512_castsi512_ps(_mm512_slli_epi32(p, 16));
  return _mm512_add_ps(_mm512_add_ps(acc, even), _mm512_castsi512_ps(_mm512_and_si512(p, high)));
#endif
}

// Elements [at, at + 16) of a row of n; past n: zero.
TOKAMAK_INLINE F16x sixteen(const float* row, int64_t at, int64_t n) {
  return at >= n ? simd::zero() : load_some(row + at, n - at);
}

void begin_pairs() { tiles::configure(); }
void end_pairs() { tiles::release(); }

// In units of kPairUnit.
TOKAMAK_INLINE F16x capped(F16x s, float cap) {
  const F16x in = simd::set1(1 / (cap * kPairUnit)), out = simd::set1(cap * kPairUnit);
  return simd::mul(simd::tanh(simd::mul(s, in)), out);
}

void pack_query(const float* query, const float* key, int64_t head_dim, float softcap, uint16_t* q,
                float* start) {
  F16x product = simd::zero();
  for (int64_t d = 0; d < head_dim; d += 32, q += 32) {
    const F16x a = sixteen(query, d, head_dim), b = sixteen(query, d + 16, head_dim);
    _mm512_storeu_si512(q, in_order(a, b));
    product = simd::fma(a, sixteen(key, d, head_dim), product);
    product = simd::fma(b, sixteen(key, d + 16, head_dim), product);
  }
  F16x own = simd::set1(simd::sum(product));
  if (softcap > 0) own = capped(own, softcap);
  *start = kWeightOne - _mm512_cvtss_f32(own.v);
}

// Keys of place 2 j and 2 j + 1 in a row of weights: as packing scores to 16 bits leaves them.
TOKAMAK_INLINE int key_of_pair(int j) {
  const int c = j % 4;
  return (c < 2 ? 0 : 16) + j / 4 * 4 + c % 2 * 2;
}

// Elements [at, at + 16) of a cache row of n; past n: zero.
template <DType T>
TOKAMAK_INLINE F16x cached(const std::byte* row, int64_t at, int64_t n) {
  if (at >= n) return simd::zero();
  const F16x x = load_row<T>(row, at, n - at);
  if constexpr (T != DType::int8_row) return x;
  uint16_t half;
  __builtin_memcpy(&half, row, 2);
  return simd::mul(x, simd::set1(f16_to_f32(half)));
}

template <DType T>
void pack_keys_of(const std::byte* const* k, const std::byte* const* v, int keys, int64_t head_dim,
                  uint16_t* pk, uint16_t* pv) {
  const int64_t n = head_dim, steps = (n + 31) / 32;
  __m512i r[16];
  for (int at = 0; at < keys; at += 16)
    for (int64_t s = 0; s < steps; ++s, pk += kTileElems) {
#pragma GCC unroll 16
      for (int i = 0; i < 16; ++i)
        r[i] = at + i < keys
                   ? in_order(cached<T>(k[at + i], 32 * s, n), cached<T>(k[at + i], 32 * s + 16, n))
                   : _mm512_setzero_si512();
      transpose_lanes(r);
#pragma GCC unroll 16
      for (int i = 0; i < 16; ++i) _mm512_storeu_si512(pk + i * 32, r[i]);
    }
  if ((keys + 15) / 16 % 2 == 1)
    __builtin_memset(pk, 0, sizeof(uint16_t) * static_cast<size_t>(kTileElems * steps));
  for (int at = 0; at < keys; at += kBlock)
    for (int64_t d = 0; d < 32 * steps; d += 16, pv += kTileElems)
      for (int j = 0; j < 16; ++j) {
        const int i = at + key_of_pair(j);
        const F16x a = i < keys ? cached<T>(v[i], d, n) : simd::zero();
        const F16x b = i + 1 < keys ? cached<T>(v[i + 1], d, n) : simd::zero();
        _mm512_storeu_si512(pv + j * 32, in_pairs(a, b));
      }
}

void pack_keys(DType t, const std::byte* const* k, const std::byte* const* v, int keys,
               int64_t head_dim, uint16_t* pk, uint16_t* pv) {
  if (t == DType::int8_row)
    pack_keys_of<DType::int8_row>(k, v, keys, head_dim, pk, pv);
  else if (t == DType::f8e4m3)
    pack_keys_of<DType::f8e4m3>(k, v, keys, head_dim, pk, pv);
  else if (t == DType::f16)
    pack_keys_of<DType::f16>(k, v, keys, head_dim, pk, pv);
  else
    pack_keys_of<DType::bf16>(k, v, keys, head_dim, pk, pv);
}

// Where another thread shares the core, tile registers to rename to are few: the fewer hold data,
// the further loads run ahead. So all products use four: two sums and two operands. Keys and values
// are not met again soon and pass by the first cache, which holds scores and weights.

// scores[V * 16 rows][32 keys]
template <int V>
TOKAMAK_INLINE void block_scores(const PairTile& t, int block, float* scores) {
  const int64_t keys = int64_t{t.steps} * kTileElems;
  const uint16_t* k = t.k + 2 * block * keys;
  const size_t row = static_cast<size_t>(t.steps) * 64;
  for (int half = 0; half < 2; ++half, scores += 16) {
    tiles::zero<0>();
    if (V == 2) tiles::zero<1>();
    for (int64_t s = 0; s < t.steps; ++s, k += kTileElems) {
      tiles::load_once<3>(k);
      tiles::load<2>(t.q + s * 32, row);
      tiles::dot_bf16<0, 2, 3>();
      if (V == 1) continue;
      tiles::load<2>(t.q + keys + s * 32, row);
      tiles::dot_bf16<1, 2, 3>();
    }
    tiles::store<0>(scores, 128);
    if (V == 2) tiles::store<1>(scores + 16 * kBlock, 128);
  }
}

// Which keys of a block a row sees.
TOKAMAK_INLINE uint32_t seen_by(const TileMask& m, int row, int block) {
  const int first = static_cast<int>(m.key) + kBlock * block;
  const int place = static_cast<int>(m.places[row]) - first;  // of the row's own key
  uint32_t seen = place < 0 ? 0 : place >= 31 ? ~0u : (2u << place) - 1;
  const int oldest = place + 1 - static_cast<int>(m.window);
  if (m.window > 0 && oldest > 0) seen &= oldest >= 32 ? 0 : ~0u << oldest;
  return seen;
}

TOKAMAK_INLINE bool must_mask(const PairTile& t, int block) {
  const TileMask& m = t.mask;
  const float first = m.key + static_cast<float>(kBlock * block);
  return first + kBlock - 1 > m.places[0] ||
         (m.window > 0 && first <= m.places[t.vectors * 16 - 1] - m.window);
}

TOKAMAK_INLINE void cap_scores(const PairTile& t, float* scores) {
  for (int r = 0; r < t.vectors * 16; ++r)
    for (int j = 0; j < kBlock; j += 16) {
      float* s = scores + r * kBlock + j;
      simd::store(s, capped(simd::load(s), t.softcap));
    }
}

// The distance from a row's place to the first key of a block.
TOKAMAK_INLINE float distance_to(const PairTile& t, int block, int row) {
  return t.mask.key + static_cast<float>(kBlock * block) - t.mask.places[row];
}

TOKAMAK_INLINE void bias_block(const PairTile& t, int block, float* scores) {
  for (int r = 0; r < t.vectors * 16; ++r)
    for (int j = 0; j < kBlock; j += 16) {
      float* s = scores + r * kBlock + j;
      simd::store(
          s, biased(simd::load(s), t.slopes[r], distance_to(t, block, r) + static_cast<float>(j)));
    }
}

// A row's scores of a block become weights, and their sum goes on from `before` to t.fresh.
template <bool kMasked>
TOKAMAK_INLINE void row_weights(const PairTile& t, int block, int r, const float* scores,
                                const float* before, uint16_t* weights) {
  const __m512i none = _mm512_set1_epi32(-(1 << 20));
  const __m512 start = _mm512_set1_ps(t.start[r]);
  const __m512 a = _mm512_add_ps(start, _mm512_loadu_ps(scores + r * kBlock));
  const __m512 b = _mm512_add_ps(start, _mm512_loadu_ps(scores + r * kBlock + 16));
  __m512i lo, hi;
  if (kMasked) {
    const uint32_t seen = seen_by(t.mask, r, block);
    lo = _mm512_mask_cvtps_epi32(none, static_cast<__mmask16>(seen), a);
    hi = _mm512_mask_cvtps_epi32(none, static_cast<__mmask16>(seen >> 16), b);
  } else {
    lo = _mm512_cvtps_epi32(a);
    hi = _mm512_cvtps_epi32(b);
  }
  const __m512i x = _mm512_max_epi16(_mm512_packs_epi32(lo, hi), _mm512_setzero_si512());
  const __m512i bend = _mm512_permutexvar_epi16(_mm512_srli_epi16(x, 2), _mm512_load_si512(kBend));
  const __m512i p = _mm512_sub_epi16(x, bend);
  _mm512_storeu_si512(weights + r * kBlock, p);
  _mm512_storeu_ps(t.fresh + r * 16, add_pairs(_mm512_loadu_ps(before + r * 16), p));
}

template <int V, bool kMasked>
TOKAMAK_INLINE void block_weights(const PairTile& t, int block, const float* scores) {
  const float* before = block == 0 ? t.sum : t.fresh;
#pragma GCC unroll 4
  for (int r = 0; r < V * 16; ++r)
    row_weights<kMasked>(t, block, r, scores, before, t.weights + block * 32 * kBlock);
}

// Weights of all keys of the tile, the next block's scores on their way meanwhile.
template <int V>
TOKAMAK_INLINE void tile_weights(const PairTile& t) {
  block_scores<V>(t, 0, t.scores);
  for (int b = 0; b < t.keys / kBlock; ++b) {
    float* scores = t.scores + b % 2 * 32 * kBlock;
    if (b + 1 < t.keys / kBlock) block_scores<V>(t, b + 1, t.scores + (b + 1) % 2 * 32 * kBlock);
    if (t.softcap > 0) cap_scores(t, scores);
    if (t.slopes != nullptr) bias_block(t, b, scores);
    if (must_mask(t, b))
      block_weights<V, true>(t, b, scores);
    else
      block_weights<V, false>(t, b, scores);
  }
}

TOKAMAK_INLINE bool out_of_range(const float* sum) {
  return _mm512_cmp_ps_mask(_mm512_loadu_ps(sum), _mm512_set1_ps(kMostSum), _CMP_NLT_UQ) != 0;
}

// Rows whose weights left the range start from their highest score of the tile from now on.
template <int V>
__attribute__((noinline)) void move_offsets(const PairTile& t) {
  float top[V * 16];
  for (float& x : top) x = kMaskedScore;
  for (int b = 0; b < t.keys / kBlock; ++b) {
    block_scores<V>(t, b, t.scores);
    for (int r = 0; r < V * 16; ++r) {
      const uint32_t seen = seen_by(t.mask, r, b);
      F16x s[2] = {simd::load(t.scores + r * kBlock), simd::load(t.scores + r * kBlock + 16)};
      for (int i = 0; i < 2; ++i) {
        if (t.softcap > 0) s[i] = capped(s[i], t.softcap);
        if (t.slopes != nullptr)
          s[i] = biased(s[i], t.slopes[r], distance_to(t, b, r) + static_cast<float>(16 * i));
        const auto part = static_cast<__mmask16>(seen >> (16 * i));
        if (part == 0) continue;
        const float most = _mm512_mask_reduce_max_ps(part, s[i].v);
        top[r] = most > top[r] ? most : top[r];
      }
    }
  }
  for (int r = 0; r < V * 16; ++r) {
    if (!out_of_range(t.fresh + r * 16)) continue;
    const float start = kWeightOne - top[r];
    const F16x factor = simd::exp(simd::set1((start - t.start[r]) / kPairUnit));
    t.start[r] = start;
    simd::store(t.sum + r * 16, simd::mul(simd::load(t.sum + r * 16), factor));
    float* out = t.out + int64_t{r / 16} * 2 * t.steps * 256 + r % 16 * 16;
    for (int d = 0; d < 2 * t.steps; ++d, out += 256)
      simd::store(out, simd::mul(simd::load(out), factor));
  }
}

// out[V * 16 rows][16 dimensions from 16 * part] += P V
template <int V>
TOKAMAK_INLINE void part_values(const PairTile& t, int part) {
  float* out = t.out + int64_t{part} * 256;
  float* second = out + int64_t{t.steps} * 512;
  const uint16_t* v = t.v + int64_t{part} * kTileElems;
  const uint16_t* p = t.weights;
  tiles::load<0>(out);
  if (V == 2) tiles::load<1>(second);
  for (int b = 0; b < t.keys / kBlock; ++b, p += 32 * kBlock) {
    tiles::load_once<3>(v);
    tiles::load<2>(p);
    tiles::dot_bf16<0, 2, 3>();
    v += int64_t{2} * t.steps * kTileElems;
    if (V == 1) continue;
    tiles::load<2>(p + 16 * kBlock);
    tiles::dot_bf16<1, 2, 3>();
  }
  tiles::store<0>(out);
  if (V == 2) tiles::store<1>(second);
}

template <int V>
void pair_tile_of(const PairTile& t) {
  tile_weights<V>(t);
  bool out = false;
  for (int r = 0; r < V * 16; ++r) out |= out_of_range(t.fresh + r * 16);
  if (out) {
    move_offsets<V>(t);
    tile_weights<V>(t);
  }
  for (int r = 0; r < V * 16; ++r) simd::store(t.sum + r * 16, simd::load(t.fresh + r * 16));
  for (int part = 0; part < 2 * t.steps; ++part) part_values<V>(t, part);
}

void pair_tile(const PairTile& t) {
  if (t.vectors == 2)
    pair_tile_of<2>(t);
  else
    pair_tile_of<1>(t);
}

void finish_row(const float* out, const float* sum, int64_t head_dim, float* y) {
  const F16x factor = simd::set1(1 / simd::sum(simd::load(sum)));
  for (int64_t d = 0; d < head_dim; d += 16, out += 256)
    store_some(y + d, simd::mul(simd::load(out), factor), head_dim - d);
}

constexpr PairKernels kPairs = {begin_pairs, end_pairs, pack_query,
                                pack_keys,   pair_tile, finish_row};

}  // namespace
}  // namespace tokamak
