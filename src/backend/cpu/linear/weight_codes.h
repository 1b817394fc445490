// How the block formats of rows16 turn their stored bits into numbers: d * (code - offset), or d *
// code + m.
#pragma once
#include "backend/cpu/linear/rows16.h"
#include "backend/cpu/simd/simd16.h"

namespace tokamak {
namespace {

using simd::F16x;
using simd::I16x;

template <DType D>
struct Format {
  static constexpr Rows16Format kRows = rows16_format(D);
  static constexpr bool kK = kRows.scale_inputs == 256;
  static constexpr bool kMin = kK ? kRows.scale_bytes == 320 : kRows.scale_bytes == 64;
  static constexpr bool kInt8 = kRows.data_bytes == 512;
  static constexpr bool kTwoBits = D == DType::q2_k || D == DType::q3_k;
  static constexpr int kHighBits = D == DType::q6_k ? 2 : kRows.high_bytes > 0 ? 1 : 0;
  static constexpr int kSub = kTwoBits || D == DType::q6_k ? 2 : 1;  // scales per 32 inputs
  // quad() turns an int8's highest bit: instructions want unsigned or signed bytes.
  static constexpr bool kTurned = kInt8 && kMin != simd::kHasVnni;
  // Subtracted from each of quad()'s numbers (with a minimum this is part of m).
  static constexpr int kOffset = kInt8              ? kTurned && !kMin ? 128 : 0
                                 : kMin             ? 0
                                 : D == DType::q5_0 ? 16
                                 : D == DType::q6_k ? 32
                                 : D == DType::q3_k ? 4
                                                    : 8;
};

// The bits above the low ones of quad J, in place.
template <DType D, int J>
TOKAMAK_INLINE I16x high_bits(const std::byte* data) {
  constexpr int kShift = D == DType::q6_k ? 4 - 2 * (J % 4) : D == DType::q3_k ? 2 - J : 4 - J;
  const I16x v = simd::iload(data + (D == DType::q6_k ? J / 4 * 64 : 0));
  const I16x mask = simd::iset1(D == DType::q6_k   ? 0x30303030
                                : D == DType::q3_k ? 0x04040404
                                                   : 0x10101010);
  if constexpr (kShift >= 0)
    return simd::iand(simd::shift_left<kShift>(v), mask);
  else
    return simd::iand(simd::shift_right<-kShift>(v), mask);
}

template <DType D, int J>
TOKAMAK_INLINE I16x low_bits(const std::byte* data) {
  constexpr bool kTwo = Format<D>::kTwoBits;
  constexpr int kShift = kTwo ? 2 * (J % 4) : J / 4 * 4;
  const I16x v = simd::iload(data + Format<D>::kRows.high_bytes + 64 * (kTwo ? J / 4 : J % 4));
  const I16x mask = simd::iset1(kTwo ? 0x03030303 : 0x0f0f0f0f);
  if constexpr (kShift > 0) return simd::iand(simd::shift_right<kShift>(v), mask);
  return simd::iand(v, mask);
}

// Inputs 4J … 4J+3 of sixteen rows, as bytes.
template <DType D, int J>
TOKAMAK_INLINE I16x quad(const std::byte* data) {
  if constexpr (Format<D>::kInt8) {
    const I16x v = simd::iload(data + 64 * J);
    if constexpr (Format<D>::kTurned)
      return simd::ixor(v, simd::iset1(static_cast<int32_t>(0x80808080u)));
    else
      return v;
  } else if constexpr (Format<D>::kHighBits > 0) {
    return simd::ior(low_bits<D, J>(data), high_bits<D, J>(data));
  } else {
    return low_bits<D, J>(data);
  }
}

// Inputs 4J, 4J+2 and 4J+1, 4J+3 of sixteen rows as pairs of int16: quad()'s numbers, but int8 as
// it is meant.
template <DType D>
constexpr int kWordOffset = Format<D>::kInt8 ? 0 : Format<D>::kOffset;
template <DType D>
constexpr bool kPlainNibbles =
    !Format<D>::kInt8 && Format<D>::kHighBits == 0 && !Format<D>::kTwoBits;

template <DType D, int J>
TOKAMAK_INLINE I16x even_words(const std::byte* data) {
  if constexpr (kPlainNibbles<D>) {
    const I16x v = simd::iload(data + 64 * (J % 4)), mask = simd::iset1(0x000f000f);
    if constexpr (J >= 4) return simd::iand(simd::shift_right<4>(v), mask);
    return simd::iand(v, mask);
  } else if constexpr (Format<D>::kInt8 && !Format<D>::kMin) {
    return simd::sign_even_bytes(simd::iload(data + 64 * J));
  } else if constexpr (Format<D>::kInt8) {
    return simd::iand(simd::iload(data + 64 * J), simd::iset1(0x00ff00ff));
  } else {
    return simd::iand(quad<D, J>(data), simd::iset1(0x00ff00ff));
  }
}
template <DType D, int J>
TOKAMAK_INLINE I16x odd_words(const std::byte* data) {
  if constexpr (kPlainNibbles<D>) {
    const I16x v = simd::iload(data + 64 * (J % 4));
    if constexpr (J >= 4) return simd::high_nibbles(v);
    return simd::iand(simd::shift_right<8>(v), simd::iset1(0x000f000f));
  } else if constexpr (Format<D>::kInt8 && !Format<D>::kMin) {
    return simd::sign_odd_bytes(simd::iload(data + 64 * J));
  } else if constexpr (Format<D>::kInt8) {
    return simd::odd_bytes(simd::iload(data + 64 * J));
  } else {
    return simd::odd_bytes(quad<D, J>(data));
  }
}

// acc + the products of quad()'s bytes with signed ones of -127 … 127.
template <DType D>
TOKAMAK_INLINE I16x dot(I16x acc, I16x w, I16x x) {
  if constexpr (Format<D>::kInt8 && !simd::kHasVnni)
    return simd::dot_i8(acc, w, x);
  else
    return simd::dot_u8(acc, w, x);
}

// Scale record of block b (of 32 inputs) of a group.
template <DType D>
TOKAMAK_INLINE const std::byte* record_of(const std::byte* scales, int64_t b) {
  constexpr Rows16Format f = Format<D>::kRows;
  if constexpr (f.scale_inputs == 0)
    return scales;
  else
    return scales + b / (f.scale_inputs / 32) * f.scale_bytes;
}

// From a record, b the block's number (K formats: their record holds eight), sub its half where
// halves have their own.
template <DType D>
TOKAMAK_INLINE F16x record_scale(const std::byte* r, int64_t b, int sub) {
  if constexpr (!Format<D>::kK)
    return simd::load_f16(r);
  else if constexpr (D == DType::q2_k)
    return simd::mul(simd::load_f16(r), simd::load_u4<0>(r + 64 + (b % 8 * 2 + sub) * 16));
  else if constexpr (Format<D>::kSub == 2)
    return simd::mul(simd::load_f16(r), simd::load_i8(r + 32 + (b % 8 * 2 + sub) * 16));
  else
    return simd::mul(simd::load_f16(r), simd::load_u8(r + 64 + b % 8 * 16));
}
template <DType D, bool kTurned = Format<D>::kTurned>
TOKAMAK_INLINE F16x record_min(const std::byte* r, int64_t b, int sub) {
  F16x m = simd::load_f16(r + 32);
  if constexpr (D == DType::q2_k)
    m = simd::mul(m, simd::load_u4<4>(r + 64 + (b % 8 * 2 + sub) * 16));
  else if constexpr (Format<D>::kK)
    m = simd::mul(m, simd::load_u8(r + 64 + 128 + b % 8 * 16));
  else if constexpr (kTurned)
    m = simd::fma(simd::load_f16(r), simd::set1(128), m);
  return Format<D>::kK ? simd::sub(simd::zero(), m) : m;
}

// The same from the scale section; formats with halves (kSub 2) ask for each.
template <DType D>
TOKAMAK_INLINE F16x scale_of(const std::byte* scales, int64_t b, int sub) {
  return record_scale<D>(record_of<D>(scales, b), b, sub);
}
template <DType D>
TOKAMAK_INLINE F16x min_of(const std::byte* scales, int64_t b, int sub = 0) {
  return record_min<D>(record_of<D>(scales, b), b, sub);
}

}  // namespace
}  // namespace tokamak
