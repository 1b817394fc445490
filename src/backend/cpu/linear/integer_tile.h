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
TOKAMAK_INLINE void start_digits(I16x (&s)[G][W], const int32_t* corrections) {
#pragma GCC unroll 2
  for (int g = 0; g < G; ++g)
#pragma GCC unroll 32
    for (int t = 0; t < W; ++t)
      s[g][t] = Format<D>::kOffset != 0 ? simd::ibroadcast(corrections + g * W + t) : simd::izero();
}

// At most 256 inputs: 256 * first + second stays an int32.
template <DType D, int W, int G>
TOKAMAK_INLINE void add_scaled(F16x (&f)[W], const I16x (&s)[G][W], const std::byte* record,
                               int64_t b, int sub, const int32_t* corrections) {
  const F16x d = record_scale<D>(record, b, sub);
#pragma GCC unroll 32
  for (int t = 0; t < W; ++t) {
    I16x sum = s[0][t];
    if constexpr (G == 2) sum = simd::iadd(simd::shift_left<8>(sum), s[1][t]);
    f[t] = simd::fma(simd::to_float(sum), d, f[t]);
  }
  if constexpr (Format<D>::kMin) {
    const F16x m = record_min<D>(record, b, sub);
    const auto* sums = reinterpret_cast<const float*>(corrections);
#pragma GCC unroll 32
    for (int t = 0; t < W; ++t) f[t] = simd::fma(m, simd::set1(sums[t]), f[t]);
  }
}

// Where a tile stands in a group's weights.
struct WeightCursor {
  const std::byte *data, *next;  // next: what to ask for
  size_t block_bytes;            // with the scales' share
};

// `blocks` blocks with one scale: block b and on.
template <DType D, int W, int G>
TOKAMAK_INLINE void add_run(F16x (&f)[W], WeightCursor& c, const std::byte* record, int64_t b,
                            int64_t blocks, const int32_t* x) {
  constexpr int kHalf = Format<D>::kMin ? W : G * W;  // corrections of the first half
  const int32_t* corrections = x + blocks * 8 * G * W;
  I16x s[G][W];
  start_digits<D, W, G>(s, corrections);
  for (int64_t i = 0; i < blocks; ++i, x += 8 * G * W, c.data += Format<D>::kRows.data_bytes) {
    if constexpr (W <= 4) {
      for (size_t line = 0; line < c.block_bytes; line += 64) prefetch(c.next + line);
      c.next += c.block_bytes;
    }
    dot_quad<D, W, G, 0>(s, c.data, x);
    dot_quad<D, W, G, 1>(s, c.data, x);
    dot_quad<D, W, G, 2>(s, c.data, x);
    dot_quad<D, W, G, 3>(s, c.data, x);
    if constexpr (Format<D>::kSub == 2) {  // runs are single blocks
      add_scaled<D, W, G>(f, s, record, b, 0, corrections);
      corrections += kHalf;
      start_digits<D, W, G>(s, corrections);
    }
    dot_quad<D, W, G, 4>(s, c.data, x);
    dot_quad<D, W, G, 5>(s, c.data, x);
    dot_quad<D, W, G, 6>(s, c.data, x);
    dot_quad<D, W, G, 7>(s, c.data, x);
  }
  add_scaled<D, W, G>(f, s, record, b, Format<D>::kSub - 1, corrections);
}

// D stands for all formats with its codes: those differ in what a scale record covers.
template <DType D, int W, int G>
void integer_tile(const LinearWeights& m, const std::byte* w, int64_t groups, const std::byte* xb,
                  int64_t, bool, float* acc) {
  constexpr Rows16Format fmt = Format<D>::kRows;
  const int64_t blocks = m.k / 32;
  const size_t block_bytes = fmt.data_bytes + static_cast<size_t>(m.record_bytes / m.run);
  for (int64_t g = 0; g < groups; ++g, w += m.group_bytes, acc += W * 16) {
    const auto* x = reinterpret_cast<const int32_t*>(xb);
    // The data section runs late by the scales' size.
    WeightCursor c{w + m.scale_bytes, w + m.scale_bytes + kPrefetchBytes, block_bytes};
    const std::byte* record = w;
#pragma GCC unroll 32
    for (int t = 0; t < W; ++t) simd::store(acc + t * 16, simd::zero());
    for (int64_t b = 0; b < blocks;) {
      const int64_t end = b + m.span < blocks ? b + m.span : blocks;
      F16x f[W];
#pragma GCC unroll 32
      for (int t = 0; t < W; ++t) f[t] = simd::zero();  // unrolled: else it stays in memory
      while (b < end) {
        const int64_t n = end - b < m.run ? end - b : m.run;
        if constexpr (Format<D>::kK) record = record_of<D>(w, b);
        add_run<D, W, G>(f, c, record, b, n, x);
        record += m.record_bytes;
        x += (n * 8 * G + kCorrections<D, G>)*W;
        b += n;
      }
      const auto* scale = reinterpret_cast<const float*>(x);
#pragma GCC unroll 32
      for (int t = 0; t < W; ++t)
        simd::store(acc + t * 16, simd::fma(f[t], simd::set1(scale[t]), simd::load(acc + t * 16)));
      x += W;
      asm volatile("" ::: "memory");  // the sums in acc stay there: registers are for the others
    }
  }
}

// Whole numbers to digits: v = 256 * digit[0] + digit[1] to one unit, or v itself.
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
        const I16x v =
            G == 2 ? simd::iadd(simd::shift_left<8>(sum[h][0]), sum[h][G - 1]) : sum[h][0];
        *reinterpret_cast<float*>(out + h * width) = static_cast<float>(simd::isum(v));
      } else if constexpr (Format<D>::kOffset != 0) {
        for (int g = 0; g < G; ++g)
          out[(h * G + g) * width] = -Format<D>::kOffset * simd::isum(sum[h][g]);
      }
  }
};

// 32 inputs of one token into column t of the block at out.
template <DType D, int G>
TOKAMAK_INLINE void quantize_block(const float* row, F16x inverse, int width, int32_t* out,
                                   DigitSums<D, G>& sums) {
  alignas(16) int8_t q[G][32];
  for (int h = 0; h < 2; ++h) {
    I16x digit[G];
    split_digits<G>(simd::round(simd::mul(simd::load(row + 16 * h), inverse)), digit);
    for (int g = 0; g < G; ++g) simd::store_i8(q[g] + 16 * h, digit[g]);
    sums.add(digit, h);
  }
  for (int g = 0; g < G; ++g) {
    const auto* quads = reinterpret_cast<const int32_t*>(q[g]);
    for (int j = 0; j < 8; ++j) out[(8 * g + j) * width] = quads[j];
  }
}

// `blocks` blocks of one token with one scale into column `out` of a span; row == null: zeros.
template <DType D, int G>
void quantize_span(const float* row, int64_t blocks, int run, int width, int32_t* out) {
  constexpr float kLargest = G == 2 ? 127 * kDigit + 126 : 127;  // rounds to digits in range
  const int64_t runs = (blocks + run - 1) / run;
  const int64_t words = blocks * 8 * G + runs * kCorrections<D, G>;
  if (row == nullptr) {
    for (int64_t i = 0; i <= words; ++i) out[i * width] = 0;
    return;
  }
  F16x largest = simd::zero(), sum = simd::zero();
  for (int64_t i = 0; i < blocks * 32; i += 16) {
    const F16x x = simd::load(row + i);
    largest = simd::max(largest, simd::abs(x));
    sum = simd::add(sum, x);
  }
  const float top = simd::max_of(largest);
  const bool nan = simd::any_nan(sum);  // one bad input shows in every sum
  const F16x inverse = simd::set1(top > 0 ? kLargest / top : 0.0f);
  for (int64_t b = 0; b < blocks;) {
    const int64_t end = b + run < blocks ? b + run : blocks;
    DigitSums<D, G> sums;
    sums.clear();
    for (; b < end; ++b, out += 8 * G * width)
      quantize_block<D, G>(row + b * 32, inverse, width, out, sums);
    sums.store(width, out);
    out += kCorrections<D, G> * width;
  }
  *reinterpret_cast<float*>(out) = nan ? __builtin_nanf("") : top / kLargest;
}

// 4-byte words of one token's first `blocks` blocks.
template <DType D, int G>
int64_t digit_words(const LinearWeights& m, int64_t blocks) {
  const auto runs_of = [&m](int64_t n) { return (n + m.run - 1) / m.run; };
  const int64_t spans = blocks / m.span, rest = blocks % m.span;
  return blocks * 8 * G + (spans * runs_of(m.span) + runs_of(rest)) * kCorrections<D, G> + spans +
         (rest > 0);
}

template <DType D, int G>
void pack_digits(const LinearWeights& m, const float* x, int64_t stride, int tokens, int width,
                 int64_t k_begin, int64_t k_end, std::byte* tile) {
  auto* out = reinterpret_cast<int32_t*>(tile) + digit_words<D, G>(m, k_begin / 32) * width;
  for (int64_t b = k_begin / 32; b < k_end / 32; b += m.span) {
    const int64_t n = k_end / 32 - b < m.span ? k_end / 32 - b : m.span;
    for (int t = 0; t < width; ++t)
      quantize_span<D, G>(t < tokens ? x + t * stride + b * 32 : nullptr, n, m.run, width, out + t);
    out += (digit_words<D, G>(m, b + n) - digit_words<D, G>(m, b)) * width;
  }
}

}  // namespace
}  // namespace tokamak
