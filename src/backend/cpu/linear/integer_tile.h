// Sums of block-format weights with activations quantized to int8 or to int16 (G bytes): integer
// dot products over a run of blocks that share a weight scale, float32 beyond. Neither the width of
// a tile nor the number of tokens changes a token's sums. Layouts: tile.h, rows16.h.
#pragma once
#include "backend/cpu/linear/float_tile.h"
#include "backend/cpu/linear/weight_codes.h"

namespace tokamak {
namespace {

// What is subtracted from each code in the integer sums.
template <DType D, int G>
constexpr int kCodeOffset = G == 2 ? kWordOffset<D> : Format<D>::kOffset;

// Corrections of a run and token.
template <DType D, int G>
constexpr int kCorrections = Format<D>::kMin || kCodeOffset<D, G> != 0 ? Format<D>::kSub : 0;

// Of S groups and W tokens.
template <int S, int W>
using IntegerSums = I16x[S][W];

template <int W>
TOKAMAK_INLINE void dot_words(I16x (&sums)[W], I16x w, const int32_t* x) {
#pragma GCC unroll 32
  for (int t = 0; t < W; ++t)
    sums[t] = W >= 4 ? simd::dot_i16_all(sums[t], w, x + t)
                     : simd::dot_i16(sums[t], w, simd::ibroadcast(x + t));  // shared by groups
}

template <DType D, int J, int S, int G, int W>
TOKAMAK_INLINE void dot_quad(IntegerSums<S, W>& sums, const std::byte* data, size_t group_bytes,
                             const int32_t* x) {
#pragma GCC unroll 4
  for (int s = 0; s < S; ++s, data += group_bytes) {
    if constexpr (G == 1) {
      const I16x w = quad<D, J>(data);
#pragma GCC unroll 32
      for (int t = 0; t < W; ++t)
        sums[s][t] = dot<D>(sums[s][t], w, simd::ibroadcast(x + J * W + t));
    } else {
      dot_words<W>(sums[s], even_words<D, J>(data), x + 2 * J * W);
      dot_words<W>(sums[s], odd_words<D, J>(data), x + (2 * J + 1) * W);
    }
  }
}

// The integer sums start at the correction for the offset, if there is one.
template <DType D, int S, int G, int W>
TOKAMAK_INLINE void start_integers(IntegerSums<S, W>& sums, const int32_t* corrections) {
#pragma GCC unroll 4
  for (int s = 0; s < S; ++s)
#pragma GCC unroll 32
    for (int t = 0; t < W; ++t)
      sums[s][t] = kCodeOffset<D, G> != 0 ? simd::ibroadcast(corrections + t) : simd::izero();
}

template <DType D, int S, int G, int W>
TOKAMAK_INLINE void add_scaled(F16x (&f)[S][W], const IntegerSums<S, W>& sums,
                               const std::byte* record, size_t group_bytes, int64_t b, int sub,
                               const int32_t* corrections) {
#pragma GCC unroll 4
  for (int s = 0; s < S; ++s, record += group_bytes) {
    const F16x d = record_scale<D>(record, b, sub);
#pragma GCC unroll 32
    for (int t = 0; t < W; ++t) f[s][t] = simd::fma(simd::to_float(sums[s][t]), d, f[s][t]);
    if constexpr (Format<D>::kMin) {
      constexpr bool kTurned = G == 1 && Format<D>::kTurned;
      const F16x m = record_min<D, kTurned>(record, b, sub);
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
  const int32_t* corrections = x + blocks * 8 * G * W;
  const size_t next = c.group_bytes;
  IntegerSums<S, W> s;
  start_integers<D, S, G, W>(s, corrections);
  for (int64_t i = 0; i < blocks; ++i, x += 8 * G * W, c.data += Format<D>::kRows.data_bytes) {
    c.ahead.advance(c.block_bytes);
    dot_quad<D, 0, S, G, W>(s, c.data, next, x);
    dot_quad<D, 1, S, G, W>(s, c.data, next, x);
    dot_quad<D, 2, S, G, W>(s, c.data, next, x);
    dot_quad<D, 3, S, G, W>(s, c.data, next, x);
    if constexpr (Format<D>::kSub == 2) {  // runs are single blocks
      add_scaled<D, S, G, W>(f, s, record, next, b, 0, corrections);
      corrections += W;
      start_integers<D, S, G, W>(s, corrections);
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
int64_t integer_words(const LinearWeights& m, int64_t blocks) {
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
  const auto* first =
      reinterpret_cast<const int32_t*>(x) + integer_words<D, G>(m, k_begin / 32) * W;
  side_by_side<kSide<W>>(m, w, groups, next, [&]<int S>(const std::byte* p, const std::byte* then) {
    integer_groups<D, S, G, W>(m, p, then, first, k_begin, k_end, acc);
    acc += S * W * 16;
  });
}

constexpr int kMostBlocks = 8;  // of a span

// What a run's corrections are made of: sums of the inputs, per half where those have scales.
template <DType D, int G>
struct InputSums {
  I16x sum[Format<D>::kSub];
  TOKAMAK_INLINE void clear() {
    for (I16x& v : sum) v = simd::izero();
  }
  TOKAMAK_INLINE void add(I16x v, int half) {
    I16x& s = sum[half % Format<D>::kSub];
    s = simd::iadd(s, v);
  }
  TOKAMAK_INLINE void store(int width, int32_t* out) const {
    for (int h = 0; h < Format<D>::kSub; ++h)
      if constexpr (Format<D>::kMin)
        *reinterpret_cast<float*>(out + h * width) = static_cast<float>(simd::isum(sum[h]));
      else if constexpr (kCodeOffset<D, G> != 0)
        out[h * width] = -kCodeOffset<D, G> * simd::isum(sum[h]);
  }
};

// One token's span: its inputs in the order of a tile of one token, `gap` bytes between runs, and
// its scale and corrections in columns of the packed tile.
template <DType D, int G>
TOKAMAK_INLINE void quantize_span(const float* row, int64_t blocks, int run, int width,
                                  int8_t* inputs, size_t gap, int32_t* out) {
  constexpr float kLargest = G == 2 ? 32767 : 127;
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
    InputSums<D, G> sums;
    sums.clear();
    for (; b < end; ++b)
      for (int h = 0; h < 2; ++h, inputs += 16 * G) {
        const I16x v = simd::to_int(simd::mul(simd::load(row + b * 32 + 16 * h), inverse));
        if constexpr (G == 2)
          simd::store_i16_even_odd(inputs, v);
        else
          simd::store_i8(inputs, v);
        sums.add(v, h);
      }
    sums.store(width, out);
    out += kCorrections<D, G> * width;
    inputs += gap;
  }
  *reinterpret_cast<float*>(out) = nan ? __builtin_nanf("") : top / kLargest;
}

// Inputs of a span, per token `token_words` apart, to columns of the packed tile.
template <DType D, int G>
TOKAMAK_INLINE void spread_inputs(const int32_t* inputs, int64_t token_words, int64_t blocks,
                                  int run, int width, int32_t* out) {
  for (int64_t b = 0; b < blocks;) {
    const int64_t end = b + run < blocks ? b + run : blocks;
    for (int64_t i = b * G; i < end * G; ++i, out += 8 * width) {
      int first = 0;
#if defined(__AVX512F__)
      for (; first + 8 <= width; first += 8)
        simd::transpose8(inputs + first * token_words + i * 8, token_words, out + first, width);
#endif
      for (int t = first; t < width; ++t)
        for (int j = 0; j < 8; ++j) out[j * width + t] = inputs[t * token_words + i * 8 + j];
    }
    out += kCorrections<D, G> * width;
    b = end;
  }
}

template <DType D, int G>
void pack_integers(const LinearWeights& m, const float* x, int64_t stride, int tokens, int width,
                   int64_t k_begin, int64_t k_end, std::byte* tile) {
  constexpr int64_t kTokenWords = kMostBlocks * 8 * G;
  alignas(64) int32_t inputs[kMaxTileWidth * kTokenWords];
  auto* out = reinterpret_cast<int32_t*>(tile) + integer_words<D, G>(m, k_begin / 32) * width;
  for (int64_t b = k_begin / 32; b < k_end / 32; b += m.span) {
    const int64_t n = k_end / 32 - b < m.span ? k_end / 32 - b : m.span;
    const int64_t words = (integer_words<D, G>(m, b + n) - integer_words<D, G>(m, b)) * width;
    if (width == 1) {  // its columns are as its inputs lie
      quantize_span<D, G>(x + b * 32, n, m.run, 1, reinterpret_cast<int8_t*>(out),
                          sizeof(int32_t) * kCorrections<D, G>, out);
      out += words;
      continue;
    }
    if (tokens < width) {
      for (int64_t i = 0; i < words; ++i) out[i] = 0;
      for (int64_t i = tokens * kTokenWords; i < width * kTokenWords; ++i) inputs[i] = 0;
    }
    for (int t = 0; t < tokens; ++t)
      quantize_span<D, G>(x + t * stride + b * 32, n, m.run, width,
                          reinterpret_cast<int8_t*>(inputs + t * kTokenWords), 0, out + t);
    spread_inputs<D, G>(inputs, kTokenWords, n, m.run, width, out);
    out += words;
  }
}

}  // namespace
}  // namespace tokamak
