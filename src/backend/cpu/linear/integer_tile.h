// Sums of block-format weights with activations quantized per 32 inputs, to one int8 digit or to
// two (15 bits): integer dot products inside a block, float32 across blocks. Layouts: tile.h,
// rows16.h.
#pragma once
#include "backend/cpu/linear/float_tile.h"

namespace tokamak {
namespace {

// How a format turns its stored bits into numbers.
template <DType D>
struct Format {
  static constexpr bool kK = D == DType::q4_k || D == DType::q5_k || D == DType::q6_k;
  static constexpr bool kMin =
      D == DType::q4_1 || D == DType::q5_1 || D == DType::q4_k || D == DType::q5_k;
  static constexpr bool kInt8 = D == DType::q8_0;
  static constexpr int kHighBits = D == DType::q6_k ? 2 : rows16_format(D).high_bytes > 0 ? 1 : 0;
  static constexpr int kSub = D == DType::q6_k ? 2 : 1;  // scales per 32 inputs
  // Subtracted from each stored number; int8 is shifted to unsigned where the ISA wants that.
  static constexpr int kOffset = D == DType::q4_0          ? 8
                                 : D == DType::q5_0        ? 16
                                 : D == DType::q6_k        ? 32
                                 : kInt8 && simd::kHasVnni ? 128
                                                           : 0;
};

constexpr float kDigit = 254;  // weight of the first of two digits; each lies in -127 … 127

// Words of a block of 32 inputs: G digits of 8, the scale, a correction per sub-block and digit.
template <DType D, int G>
constexpr int x_block_words(int width) {
  return width * (8 * G + 1 + Format<D>::kSub * G);
}

// The fifth (and sixth) bit of quad j, in place.
template <DType D, int J>
TOKAMAK_INLINE I16x high_bits(const std::byte* data) {
  constexpr int kShift = D == DType::q6_k ? 4 - 2 * (J % 4) : 4 - J;
  const I16x v = simd::iload(data + (D == DType::q6_k ? J / 4 * 64 : 0));
  const I16x mask = simd::iset1(D == DType::q6_k ? 0x30303030 : 0x10101010);
  if constexpr (kShift >= 0)
    return simd::iand(simd::shift_left<kShift>(v), mask);
  else
    return simd::iand(simd::shift_right<-kShift>(v), mask);
}

// Inputs 4J … 4J+3 of sixteen rows, as bytes.
template <DType D, int J>
TOKAMAK_INLINE I16x quad(const std::byte* data) {
  if constexpr (Format<D>::kInt8) {
    const I16x v = simd::iload(data + 64 * J);
#if defined(__AVX512VNNI__)
    return {_mm512_xor_si512(v.v, _mm512_set1_epi8(static_cast<char>(0x80)))};
#else
    return v;
#endif
  } else {
    const I16x v = simd::iload(data + rows16_format(D).high_bytes + 64 * (J % 4));
    const I16x nibble = simd::iand(J < 4 ? v : simd::shift_right<4>(v), simd::iset1(0x0f0f0f0f));
    if constexpr (Format<D>::kHighBits > 0)
      return simd::ior(nibble, high_bits<D, J>(data));
    else
      return nibble;
  }
}

template <DType D>
TOKAMAK_INLINE I16x dot(I16x acc, I16x w, I16x x) {
  if constexpr (Format<D>::kInt8 && !simd::kHasVnni)
    return simd::dot_i8(acc, w, x);
  else
    return simd::dot_u8(acc, w, x);
}

// Scales of 32 inputs: b counts blocks of 32.
template <DType D>
TOKAMAK_INLINE F16x scale_of(const std::byte* scales, int64_t b, int sub) {
  constexpr Rows16Format f = rows16_format(D);
  if constexpr (!Format<D>::kK) return simd::load_f16(scales + b * f.scale_bytes);
  const std::byte* r = scales + b / 8 * f.scale_bytes;
  if constexpr (D == DType::q6_k)
    return simd::mul(simd::load_f16(r), simd::load_i8(r + 32 + (b % 8 * 2 + sub) * 16));
  else
    return simd::mul(simd::load_f16(r), simd::load_u8(r + 64 + b % 8 * 16));
}
template <DType D>
TOKAMAK_INLINE F16x min_of(const std::byte* scales, int64_t b) {
  constexpr Rows16Format f = rows16_format(D);
  if constexpr (!Format<D>::kK) return simd::load_f16(scales + b * f.scale_bytes + 32);
  const std::byte* r = scales + b / 8 * f.scale_bytes;
  const F16x m = simd::mul(simd::load_f16(r + 32), simd::load_u8(r + 64 + 128 + b % 8 * 16));
  return simd::sub(simd::zero(), m);
}

template <DType D, int W, int G, int J>
TOKAMAK_INLINE void dot_quad(I16x (&s)[G][W], const std::byte* data, const int32_t* x) {
  const I16x w = quad<D, J>(data);
#pragma GCC unroll 32
  for (int t = 0; t < W; ++t) {
    s[0][t] = dot<D>(s[0][t], w, simd::ibroadcast(x + J * W + t));
    if constexpr (G == 2) s[1][t] = dot<D>(s[1][t], w, simd::ibroadcast(x + (8 + J) * W + t));
  }
}

// The integer sums start at the correction for the offset, if there is one.
template <DType D, int W, int G>
TOKAMAK_INLINE void start_digits(I16x (&s)[G][W], const int32_t* x, int sub) {
  const int32_t* corrections = x + (8 * G + 1 + sub * G) * W;
#pragma GCC unroll 2
  for (int g = 0; g < G; ++g)
#pragma GCC unroll 32
    for (int t = 0; t < W; ++t)
      s[g][t] = Format<D>::kOffset != 0 ? simd::ibroadcast(corrections + g * W + t) : simd::izero();
}

template <int W, int G>
TOKAMAK_INLINE void add_scaled(F16x (&f)[W], I16x (&s)[G][W], F16x d, const float* scale) {
#pragma GCC unroll 32
  for (int t = 0; t < W; ++t) {
    F16x sum = simd::to_float(s[0][t]);
    if constexpr (G == 2) sum = simd::fma(sum, simd::set1(kDigit), simd::to_float(s[1][t]));
    f[t] = simd::fma(sum, simd::mul(d, simd::set1(scale[t])), f[t]);
  }
}

// One block of 32 inputs of one group.
template <DType D, int W, int G>
TOKAMAK_INLINE void add_block(F16x (&f)[W], const std::byte* scales, const std::byte* data,
                              int64_t b, const int32_t* x) {
  const auto* meta = reinterpret_cast<const float*>(x + 8 * G * W);
  I16x s[G][W];
  start_digits<D, W, G>(s, x, 0);
  dot_quad<D, W, G, 0>(s, data, x);
  dot_quad<D, W, G, 1>(s, data, x);
  dot_quad<D, W, G, 2>(s, data, x);
  dot_quad<D, W, G, 3>(s, data, x);
  if constexpr (Format<D>::kSub == 2) {
    add_scaled<W, G>(f, s, scale_of<D>(scales, b, 0), meta);
    start_digits<D, W, G>(s, x, 1);
  }
  dot_quad<D, W, G, 4>(s, data, x);
  dot_quad<D, W, G, 5>(s, data, x);
  dot_quad<D, W, G, 6>(s, data, x);
  dot_quad<D, W, G, 7>(s, data, x);
  add_scaled<W, G>(f, s, scale_of<D>(scales, b, Format<D>::kSub - 1), meta);
  if constexpr (Format<D>::kMin) {
    const F16x m = min_of<D>(scales, b);
#pragma GCC unroll 32
    for (int t = 0; t < W; ++t) f[t] = simd::fma(m, simd::set1(meta[W + t]), f[t]);
  }
}

template <DType D, int W, int G>
void integer_tile(const std::byte* w, size_t group_bytes, int64_t groups, const std::byte* xb,
                  int64_t k, bool, float* acc) {
  constexpr Rows16Format fmt = rows16_format(D);
  const size_t scale_section = rows16_scales(D, k);
  const int64_t blocks = k / 32;
  const size_t ahead = scale_section + kPrefetchBytes;  // the data section runs late by that much
  for (int64_t g = 0; g < groups; ++g, w += group_bytes, acc += W * 16) {
    F16x f[W];
    for (F16x& v : f) v = simd::zero();
    const auto* x = reinterpret_cast<const int32_t*>(xb);
    const std::byte *data = w + scale_section, *next = w + ahead;
    for (int64_t b = 0; b < blocks; ++b, x += x_block_words<D, G>(W), data += fmt.data_bytes) {
      if constexpr (W <= 4) {
        constexpr size_t kBytes = fmt.data_bytes + fmt.scale_bytes * 32 / fmt.scale_inputs;
        for (size_t line = 0; line < kBytes; line += 64) prefetch(next + line);
        next += kBytes;
      }
      add_block<D, W, G>(f, w, data, b, x);
    }
#pragma GCC unroll 32
    for (int t = 0; t < W; ++t) simd::store(acc + t * 16, f[t]);
  }
}

// Whole numbers to digits: v = 254 * digit[0] + digit[1], or v itself.
template <int G>
TOKAMAK_INLINE void split_digits(I16x v, I16x (&digit)[G]) {
  digit[0] = v;
  if constexpr (G == 2) {
    digit[0] = simd::to_int(simd::mul(simd::to_float(v), simd::set1(1 / kDigit)));
    digit[1] =
        simd::to_int(simd::fma(simd::to_float(digit[0]), simd::set1(-kDigit), simd::to_float(v)));
  }
}

// The corrections of a block: v and digit hold its halves of sixteen inputs.
template <DType D, int G>
TOKAMAK_INLINE void store_corrections(const I16x (&v)[2], const I16x (&digit)[2][G], float scale,
                                      int width, int32_t* out) {
  constexpr int kOffset = Format<D>::kOffset;
  if constexpr (Format<D>::kMin) {
    const auto sum = static_cast<float>(simd::isum(simd::iadd(v[0], v[1])));
    *reinterpret_cast<float*>(out) = scale * sum;
  } else if constexpr (kOffset != 0) {
    for (int g = 0; g < G; ++g)
      if constexpr (Format<D>::kSub == 2) {
        out[g * width] = -kOffset * simd::isum(digit[0][g]);
        out[(G + g) * width] = -kOffset * simd::isum(digit[1][g]);
      } else {
        out[g * width] = -kOffset * simd::isum(simd::iadd(digit[0][g], digit[1][g]));
      }
  }
}

// 32 inputs of one token into column t of the block at `out`; row == null: zeros.
template <DType D, int G>
TOKAMAK_INLINE void quantize_block(const float* row, int width, int t, int32_t* out) {
  constexpr float kLargest = G == 2 ? 127 * kDigit + 126 : 127;  // rounds to digits in range
  alignas(16) int8_t q[G][32];
  const F16x x[2] = {row == nullptr ? simd::zero() : simd::load(row),
                     row == nullptr ? simd::zero() : simd::load(row + 16)};
  const float top = simd::max_of(simd::max(simd::abs(x[0]), simd::abs(x[1])));
  const bool nan = simd::any_nan(simd::add(x[0], x[1]));  // one bad input shows in every sum
  const F16x inverse = simd::set1(top > 0 ? kLargest / top : 0.0f);
  I16x v[2], digit[2][G];
  for (int h = 0; h < 2; ++h) {
    v[h] = simd::to_int(simd::mul(x[h], inverse));
    split_digits<G>(v[h], digit[h]);
    for (int g = 0; g < G; ++g) simd::store_i8(q[g] + 16 * h, digit[h][g]);
  }
  for (int g = 0; g < G; ++g) {
    const auto* quads = reinterpret_cast<const int32_t*>(q[g]);
    for (int j = 0; j < 8; ++j) out[(8 * g + j) * width + t] = quads[j];
  }
  const float scale = nan ? __builtin_nanf("") : top / kLargest;
  out += 8 * G * width + t;
  *reinterpret_cast<float*>(out) = scale;
  store_corrections<D, G>(v, digit, scale, width, out + width);
}

template <DType D, int G>
void pack_digits(const float* x, int64_t stride, int tokens, int width, int64_t k_begin,
                 int64_t k_end, int64_t, std::byte* tile) {
  constexpr auto words = x_block_words<D, G>;
  auto* out = reinterpret_cast<int32_t*>(tile) + k_begin / 32 * words(width);
  for (int64_t i = k_begin; i < k_end; i += 32, out += words(width))
    for (int t = 0; t < width; ++t)
      quantize_block<D, G>(t < tokens ? x + t * stride + i : nullptr, width, t, out);
}

}  // namespace
}  // namespace tokamak
