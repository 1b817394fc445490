// Sums of block-format weights with activations quantized to one int8 digit or to two (15 bits):
// integer dot products over a run of blocks that share a weight scale, float32 beyond. Neither the
// width of a tile nor the number of tokens changes a token's sums. Layouts: tile.h, rows16.h.
#pragma once
#include "backend/cpu/linear/float_tile.h"
#include "backend/cpu/linear/weight_codes.h"

namespace tokamak {
namespace {

constexpr float kDigit = 256;  // weight of the first of two digits; each lies in -127 … 127

// Corrections of a run and token.
template <DType D, int G>
constexpr int kCorrections = Format<D>::kMin           ? Format<D>::kSub
                             : Format<D>::kOffset != 0 ? Format<D>::kSub* G
                                                       : 0;

// Sums of S groups, G digits and W tokens.
template <int S, int G, int W>
using Digits = I16x[S][G][W];

template <DType D, int J, int S, int G, int W>
TOKAMAK_INLINE void dot_quad(Digits<S, G, W>& sums, const std::byte* data, size_t group_bytes,
                             const int32_t* x) {
#pragma GCC unroll 4
  for (int s = 0; s < S; ++s) {
    const I16x w = quad<D, J>(data + s * group_bytes);
#pragma GCC unroll 32
    for (int t = 0; t < W; ++t) {
      sums[s][0][t] = dot<D>(sums[s][0][t], w, simd::ibroadcast(x + J * W + t));
      if constexpr (G == 2)
        sums[s][1][t] = dot<D>(sums[s][1][t], w, simd::ibroadcast(x + (8 + J) * W + t));
    }
  }
}

// The integer sums start at the correction for the offset, if there is one.
template <DType D, int S, int G, int W>
TOKAMAK_INLINE void start_digits(Digits<S, G, W>& sums, const int32_t* corrections) {
#pragma GCC unroll 4
  for (int s = 0; s < S; ++s)
#pragma GCC unroll 2
    for (int g = 0; g < G; ++g)
#pragma GCC unroll 32
      for (int t = 0; t < W; ++t)
        sums[s][g][t] =
            Format<D>::kOffset != 0 ? simd::ibroadcast(corrections + g * W + t) : simd::izero();
}

// At most 256 inputs: 256 * first + second stays an int32.
template <DType D, int S, int G, int W>
TOKAMAK_INLINE void add_scaled(F16x (&f)[S][W], const Digits<S, G, W>& sums,
                               const std::byte* record, size_t group_bytes, int64_t b, int sub,
                               const int32_t* corrections) {
#pragma GCC unroll 4
  for (int s = 0; s < S; ++s, record += group_bytes) {
    const F16x d = record_scale<D>(record, b, sub);
#pragma GCC unroll 32
    for (int t = 0; t < W; ++t) {
      I16x sum = sums[s][0][t];
      if constexpr (G == 2) sum = simd::iadd(simd::shift_left<8>(sum), sums[s][1][t]);
      f[s][t] = simd::fma(simd::to_float(sum), d, f[s][t]);
    }
    if constexpr (Format<D>::kMin) {
      const F16x m = record_min<D>(record, b, sub);
      const auto* of = reinterpret_cast<const float*>(corrections);
#pragma GCC unroll 32
      for (int t = 0; t < W; ++t) f[s][t] = simd::fma(m, simd::set1(of[t]), f[s][t]);
    }
  }
}

// Where a tile stands in its groups' weights.
template <int S>
struct WeightCursor {
  const std::byte* data;
  size_t group_bytes, block_bytes;  // of a block: with the scales' share
  SideAhead<S> ahead;
};

// `blocks` blocks with one scale: block b and on.
template <DType D, int S, int G, int W>
TOKAMAK_INLINE void add_run(F16x (&f)[S][W], WeightCursor<S>& c, const std::byte* record, int64_t b,
                            int64_t blocks, const int32_t* x) {
  constexpr int kHalf = Format<D>::kMin ? W : G * W;  // corrections of the first half
  const int32_t* corrections = x + blocks * 8 * G * W;
  const size_t next = c.group_bytes;
  Digits<S, G, W> s;
  start_digits<D, S, G, W>(s, corrections);
  for (int64_t i = 0; i < blocks; ++i, x += 8 * G * W, c.data += Format<D>::kRows.data_bytes) {
    c.ahead.advance(c.block_bytes);
    dot_quad<D, 0, S, G, W>(s, c.data, next, x);
    dot_quad<D, 1, S, G, W>(s, c.data, next, x);
    dot_quad<D, 2, S, G, W>(s, c.data, next, x);
    dot_quad<D, 3, S, G, W>(s, c.data, next, x);
    if constexpr (Format<D>::kSub == 2) {  // runs are single blocks
      add_scaled<D, S, G, W>(f, s, record, next, b, 0, corrections);
      corrections += kHalf;
      start_digits<D, S, G, W>(s, corrections);
    }
    dot_quad<D, 4, S, G, W>(s, c.data, next, x);
    dot_quad<D, 5, S, G, W>(s, c.data, next, x);
    dot_quad<D, 6, S, G, W>(s, c.data, next, x);
    dot_quad<D, 7, S, G, W>(s, c.data, next, x);
  }
  add_scaled<D, S, G, W>(f, s, record, next, b, Format<D>::kSub - 1, corrections);
}

// 4-byte words of one token's first `blocks` blocks.
template <DType D, int G>
int64_t digit_words(const LinearWeights& m, int64_t blocks) {
  const auto runs_of = [&m](int64_t n) { return (n + m.run - 1) / m.run; };
  const int64_t spans = blocks / m.span, rest = blocks % m.span;
  return blocks * 8 * G + (spans * runs_of(m.span) + runs_of(rest)) * kCorrections<D, G> + spans +
         (rest > 0);
}

template <DType D, int S, int G, int W>
TOKAMAK_INLINE void integer_groups(const LinearWeights& m, const std::byte* w,
                                   const std::byte* next, const int32_t* x, int64_t k_begin,
                                   int64_t k_end, float* acc) {
  constexpr Rows16Format fmt = Format<D>::kRows;
  const int64_t first = k_begin / 32, blocks = k_end / 32;
  const size_t block_bytes = m.group_bytes / static_cast<size_t>(m.k / 32);
  WeightCursor<S> c{w + m.scale_bytes + first * fmt.data_bytes, m.group_bytes, block_bytes,
                    SideAhead<S>(m, w, static_cast<size_t>(first) * block_bytes, next)};
  const std::byte* record = w + first / m.run * m.record_bytes;
  if (k_begin == 0) {
#pragma GCC unroll 32
    for (int t = 0; t < S * W; ++t) simd::store(acc + t * 16, simd::zero());
  }
  for (int64_t b = first; b < blocks;) {
    const int64_t end = b + m.span < blocks ? b + m.span : blocks;
    F16x f[S][W];
#pragma GCC unroll 4
    for (int s = 0; s < S; ++s)
#pragma GCC unroll 32
      for (int t = 0; t < W; ++t) f[s][t] = simd::zero();  // unrolled: else it stays in memory
    while (b < end) {
      const int64_t n = end - b < m.run ? end - b : m.run;
      if constexpr (Format<D>::kK) record = record_of<D>(w, b);
      add_run<D, S, G, W>(f, c, record, b, n, x);
      record += m.record_bytes;
      x += (n * 8 * G + kCorrections<D, G>)*W;
      b += n;
    }
    const auto* scale = reinterpret_cast<const float*>(x);
#pragma GCC unroll 4
    for (int s = 0; s < S; ++s)
#pragma GCC unroll 32
      for (int t = 0; t < W; ++t) {
        float* sum = acc + (s * W + t) * 16;
        simd::store(sum, simd::fma(f[s][t], simd::set1(scale[t]), simd::load(sum)));
      }
    x += W;
    asm volatile("" ::: "memory");  // the sums in acc stay there: registers are for the others
  }
}

// D stands for all formats with its codes: those differ in what a scale record covers.
template <DType D, int W, int G>
void integer_tile(const LinearWeights& m, const std::byte* w, int64_t groups, const std::byte* next,
                  const std::byte* x, int64_t k_begin, int64_t k_end, float* acc) {
  const auto* first = reinterpret_cast<const int32_t*>(x) + digit_words<D, G>(m, k_begin / 32) * W;
  side_by_side<kSide<W>>(m, w, groups, next, [&]<int S>(const std::byte* p, const std::byte* then) {
    integer_groups<D, S, G, W>(m, p, then, first, k_begin, k_end, acc);
    acc += S * W * 16;
  });
}

// v rounded: 256 * digit[0] + digit[1] to one unit, or one digit.
template <int G>
TOKAMAK_INLINE void split_digits(F16x v, I16x (&digit)[G]) {
  if constexpr (G == 2) {
    const F16x high = simd::round(simd::mul(v, simd::set1(1 / kDigit)));
    const F16x low = simd::fma(high, simd::set1(-kDigit), v);
    digit[0] = simd::to_int(high);
    digit[1] = simd::to_int(simd::max(simd::set1(-127), simd::min(simd::set1(127), low)));
  } else {
    digit[0] = simd::to_int(v);
  }
}

constexpr int kMostBlocks = 8;  // of a span

// What a run's corrections are made of: sums of the digits, per half where those have scales.
template <DType D, int G>
struct DigitSums {
  I16x sum[Format<D>::kSub][G];
  TOKAMAK_INLINE void clear() {
    for (auto& half : sum)
      for (I16x& v : half) v = simd::izero();
  }
  TOKAMAK_INLINE void add(const I16x (&digit)[G], int half) {
    for (int g = 0; g < G; ++g)
      sum[half % Format<D>::kSub][g] = simd::iadd(sum[half % Format<D>::kSub][g], digit[g]);
  }
  TOKAMAK_INLINE void store(int width, int32_t* out) const {
    for (int h = 0; h < Format<D>::kSub; ++h)
      if constexpr (Format<D>::kMin) {
        I16x v = sum[h][0];
        if constexpr (G == 2) v = simd::iadd(simd::shift_left<8>(v), sum[h][1]);
        *reinterpret_cast<float*>(out + h * width) = static_cast<float>(simd::isum(v));
      } else if constexpr (Format<D>::kOffset != 0) {
        for (int g = 0; g < G; ++g)
          out[(h * G + g) * width] = -Format<D>::kOffset * simd::isum(sum[h][g]);
      }
  }
};

// One token's span: its digits as they lie, 32 to a block and digit, `gap` bytes between runs, and
// its scale and corrections in columns of the packed tile.
template <DType D, int G>
TOKAMAK_INLINE void quantize_span(const float* row, int64_t blocks, int run, int width,
                                  int8_t* digits, size_t gap, int32_t* out) {
  constexpr float kLargest = G == 2 ? 127 * kDigit + 126 : 127;  // rounds to digits in range
  F16x largest = simd::zero(), total = simd::zero();
  for (int64_t i = 0; i < blocks * 32; i += 16) {
    const F16x x = simd::load(row + i);
    largest = simd::max(largest, simd::abs(x));
    total = simd::add(total, x);
  }
  const float top = simd::max_of(largest);
  const bool nan = simd::any_nan(total);  // one bad input shows in every sum
  const F16x inverse = simd::set1(top > 0 ? kLargest / top : 0.0f);
  for (int64_t b = 0; b < blocks;) {
    const int64_t end = b + run < blocks ? b + run : blocks;
    out += (end - b) * 8 * G * width;
    DigitSums<D, G> sums;
    sums.clear();
    for (; b < end; ++b, digits += 32 * G)
      for (int h = 0; h < 2; ++h) {
        I16x digit[G];
        split_digits<G>(simd::mul(simd::load(row + b * 32 + 16 * h), inverse), digit);
        for (int g = 0; g < G; ++g) simd::store_i8(digits + g * 32 + 16 * h, digit[g]);
        sums.add(digit, h);
      }
    sums.store(width, out);
    out += kCorrections<D, G> * width;
    digits += gap;
  }
  *reinterpret_cast<float*>(out) = nan ? __builtin_nanf("") : top / kLargest;
}

// Digits of a span, per token `token_words` apart, to [8][width] per block and digit.
template <DType D, int G>
TOKAMAK_INLINE void spread_digits(const int32_t* digits, int64_t token_words, int64_t blocks,
                                  int run, int width, int32_t* out) {
  for (int64_t b = 0; b < blocks;) {
    const int64_t end = b + run < blocks ? b + run : blocks;
    for (int64_t i = b * G; i < end * G; ++i, out += 8 * width) {
#if defined(__AVX512F__)
      if (width == 8) {
        simd::transpose8(digits + i * 8, token_words, out, 8);
        continue;
      }
#endif
      for (int t = 0; t < width; ++t)
        for (int j = 0; j < 8; ++j) out[j * width + t] = digits[t * token_words + i * 8 + j];
    }
    out += kCorrections<D, G> * width;
    b = end;
  }
}

template <DType D, int G>
void pack_digits(const LinearWeights& m, const float* x, int64_t stride, int tokens, int width,
                 int64_t k_begin, int64_t k_end, std::byte* tile) {
  constexpr int64_t kTokenWords = kMostBlocks * 8 * G;
  alignas(64) int32_t digits[kMaxTileWidth * kTokenWords];
  auto* out = reinterpret_cast<int32_t*>(tile) + digit_words<D, G>(m, k_begin / 32) * width;
  for (int64_t b = k_begin / 32; b < k_end / 32; b += m.span) {
    const int64_t n = k_end / 32 - b < m.span ? k_end / 32 - b : m.span;
    const int64_t words = (digit_words<D, G>(m, b + n) - digit_words<D, G>(m, b)) * width;
    if (width == 1) {  // its columns are as its digits lie
      quantize_span<D, G>(x + b * 32, n, m.run, 1, reinterpret_cast<int8_t*>(out),
                          sizeof(int32_t) * kCorrections<D, G>, out);
      out += words;
      continue;
    }
    if (tokens < width) {
      for (int64_t i = 0; i < words; ++i) out[i] = 0;
      for (int32_t& d : digits) d = 0;
    }
    for (int t = 0; t < tokens; ++t)
      quantize_span<D, G>(x + t * stride + b * 32, n, m.run, width,
                          reinterpret_cast<int8_t*>(digits + t * kTokenWords), 0, out + t);
    spread_digits<D, G>(digits, kTokenWords, n, m.run, width, out);
    out += words;
  }
}

}  // namespace
}  // namespace tokamak
