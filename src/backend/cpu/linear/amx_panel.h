// Weights of any format as bf16 tiles: sixteen outputs by steps of 32 inputs, each step 16 pairs
// [16][2], rounded to nearest. What AMX multiplies.
#pragma once
#include "backend/cpu/amx/tiles.h"
#include "backend/cpu/linear/amx_linear.h"
#include "backend/cpu/linear/float_tile.h"
#include "backend/cpu/linear/weight_codes.h"

namespace tokamak {
namespace {

// Pairs (even, odd) of sixteen rows, rounded to bf16 (ties away from zero), as one tile row.
TOKAMAK_INLINE void store_pairs(std::byte* out, F16x even, F16x odd) {
  const __m512i half = _mm512_set1_epi32(0x8000);
  const __m512i lo = _mm512_add_epi32(_mm512_castps_si512(even.v), half);
  const __m512i hi = _mm512_add_epi32(_mm512_castps_si512(odd.v), half);
  // 0xf8: a | (b & c)
  _mm512_store_si512(
      out, _mm512_ternarylogic_epi32(_mm512_srli_epi32(lo, 16), hi,
                                     _mm512_set1_epi32(static_cast<int>(0xffff0000u)), 0xf8));
}

// The same cut off instead of rounded, at a third of the instructions, for values that are kUp too
// large: that is the half of a last place which a value has in the mean.
constexpr float kUp = 1 + 11.0f / 4096;
TOKAMAK_INLINE void store_cut_pairs(std::byte* out, F16x even, F16x odd) {
  const __m512i upper = _mm512_set4_epi32(0x0f0e, 0x0b0a, 0x0706, 0x0302);
  constexpr __mmask64 kLower = 0x3333333333333333ull;
  _mm512_store_si512(out, _mm512_mask_shuffle_epi8(_mm512_castps_si512(odd.v), kLower,
                                                   _mm512_castps_si512(even.v), upper));
}

template <int kBits>
TOKAMAK_INLINE __m512i shifted(__m512i v) {  // left, or right where kBits is negative
  if constexpr (kBits > 0) return _mm512_slli_epi32(v, kBits);
  if constexpr (kBits < 0) return _mm512_srli_epi32(v, -kBits);
  return v;
}

// Input 4J + kByte of every lane as a float: its code put into the mantissa of a power of two,
// which makes it kMagic too large. Shifts and logic, for shuffles have one port and products of
// tiles share it. Plain nibbles and bytes come as they lie, others from quad().
template <DType D, int J, int kByte>
TOKAMAK_INLINE F16x float_of_code(__m512i v) {
  using F = Format<D>;
  constexpr bool kNibbles = !F::kInt8 && F::kHighBits == 0 && !F::kTwoBits;
  constexpr int kTo = F::kInt8 ? 8 : 16;  // place of the lowest bit
  constexpr int kShift = kTo - 8 * kByte - (kNibbles && J >= 4 ? 4 : 0);
  const __m512i mask = _mm512_set1_epi32((kNibbles ? 15 : 255) << kTo);
  const __m512i base =
      _mm512_set1_epi32(F::kInt8 ? 0x47000000 ^ (F::kTurned ? 0x8000 : 0) : 0x43000000);
  // 0x6a: (a & b) ^ c
  return {_mm512_castsi512_ps(_mm512_ternarylogic_epi32(shifted<kShift>(v), mask, base, 0x6a))};
}

// One step of a block format: scale * code + shift, both kUp too large. The product is exact but
// for its last rounding: a scale has 11 bits (K formats 17), kUp 13, the power of two is taken off
// by the shift.
template <DType D, int J>
TOKAMAK_INLINE void widen_quad(const std::byte* data, F16x scale, F16x shift, std::byte* out) {
  using F = Format<D>;
  __m512i v;
  if constexpr (F::kInt8)
    v = _mm512_loadu_si512(data + 64 * J);
  else if constexpr (F::kHighBits == 0 && !F::kTwoBits)
    v = _mm512_loadu_si512(data + 64 * (J % 4));
  else
    v = quad<D, J>(data).v;
  const auto value = [&](F16x code) __attribute__((always_inline)) {
    return simd::fma(code, scale, shift);
  };
  store_cut_pairs(out + 128 * J, value(float_of_code<D, J, 0>(v)),
                  value(float_of_code<D, J, 1>(v)));
  store_cut_pairs(out + 128 * J + 64, value(float_of_code<D, J, 2>(v)),
                  value(float_of_code<D, J, 3>(v)));
}

template <DType D>
TOKAMAK_INLINE F16x up_scale(const std::byte* record, int64_t b, int sub) {
  return simd::mul(record_scale<D>(record, b, sub), simd::set1(kUp));
}
template <DType D>
TOKAMAK_INLINE F16x up_shift(const std::byte* record, int64_t b, int sub, F16x scale) {
  static_assert(!Format<D>::kInt8 || simd::kHasVnni, "quad() must give unsigned bytes");
  constexpr float kMagic = Format<D>::kInt8 ? 32768 : 128;
  const F16x magic = simd::set1(-(kMagic + static_cast<float>(Format<D>::kOffset)));
  if constexpr (Format<D>::kMin)
    return simd::fma(scale, magic, simd::mul(record_min<D>(record, b, sub), simd::set1(kUp)));
  else
    return simd::mul(scale, magic);
}

template <DType D>
TOKAMAK_INLINE void widen_block(const std::byte* record, const std::byte* data, int64_t b,
                                std::byte* out) {
  F16x scale = up_scale<D>(record, b, 0), shift = up_shift<D>(record, b, 0, scale);
  widen_quad<D, 0>(data, scale, shift, out);
  widen_quad<D, 1>(data, scale, shift, out);
  widen_quad<D, 2>(data, scale, shift, out);
  widen_quad<D, 3>(data, scale, shift, out);
  if constexpr (Format<D>::kSub == 2) {
    scale = up_scale<D>(record, b, 1);
    shift = up_shift<D>(record, b, 1, scale);
  }
  widen_quad<D, 4>(data, scale, shift, out);
  widen_quad<D, 5>(data, scale, shift, out);
  widen_quad<D, 6>(data, scale, shift, out);
  widen_quad<D, 7>(data, scale, shift, out);
}

// Inputs [32 step, 32 step + n) of a float group; the tile's other rows become zero.
TOKAMAK_INLINE void widen_f16(const std::byte* group, int64_t step, int64_t n, std::byte* out) {
  const std::byte* p = group + step * kAmxStep * 32;
  for (int64_t i = 0; i < kAmxStep; i += 2, out += 64)
    store_pairs(out, i < n ? simd::load_f16(p + i * 32) : simd::zero(),
                i + 1 < n ? simd::load_f16(p + (i + 1) * 32) : simd::zero());
}
TOKAMAK_INLINE void copy_bf16(const std::byte* group, int64_t step, int64_t n, std::byte* out) {
  const std::byte* p = group + step * kAmxStep * 32;
  for (int64_t i = 0; i < kAmxStep; i += 2, out += 64)
    _mm512_store_si512(out, i < n ? _mm512_loadu_si512(p + i * 32) : _mm512_setzero_si512());
}

// Asks the second cache for what will be needed after the panel at hand, a little at a time:
// `parts` stretches of `bytes`, part_next apart.
struct Ahead {
  const std::byte* part = nullptr;
  size_t bytes = 0, part_next = 0;
  int64_t parts = 0;
  int lines = 0;  // of one call
  size_t at = 0;
  TOKAMAK_INLINE void ask() {
    if (parts == 0) return;
    for (int i = 0; i < lines; ++i, at += 64)
      _mm_prefetch(reinterpret_cast<const char*>(part + at), _MM_HINT_T1);
    if (at < bytes) return;
    at = 0;
    part += part_next;
    --parts;
  }
};

// How far ahead of a panel's widening, which goes slowly, its weights are asked for.
constexpr size_t kPanelPrefetchBytes = 1024;

// One step of one group to one tile, asking for what lies `kAhead` (or 0) bytes further on.
template <DType D, size_t kAhead>
TOKAMAK_INLINE void widen_step(const std::byte* group, int64_t k, int64_t step, std::byte* out) {
  if constexpr (rows16_is_block(D)) {
    constexpr Rows16Format f = rows16_format(D);
    const std::byte* data = group + rows16_scales(D, k) + step * f.data_bytes;
    if constexpr (kAhead > 0)
      for (int line = 0; line < f.data_bytes; line += 64) prefetch(data + kAhead + line);
    widen_block<D>(record_of<D>(group, step), data, step, out);
  } else if constexpr (D == DType::f16) {
    widen_f16(group, step, k - step * kAmxStep, out);
  } else {
    copy_bf16(group, step, k - step * kAmxStep, out);
  }
}

}  // namespace
}  // namespace tokamak
