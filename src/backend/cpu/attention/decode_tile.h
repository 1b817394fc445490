// Decode straight from the cache: sixteen dimensions in the lanes of a vector, every key and value
// read once for up to four heads.
#pragma once
#include "backend/cpu/attention/lanes.h"

namespace tokamak {
namespace {

// Elements [at, at + 16) of a row, or the n < 16 last ones and zeros; of int8 the bare codes.
template <DType T>
TOKAMAK_INLINE F16x load_row(const std::byte* row, int64_t at, int64_t n) {
  if constexpr (T == DType::int8_row) {
    const std::byte* codes = row + 2 + at;
    if (n >= 16) return simd::load_i8(codes);
    std::byte part[16] = {};
    __builtin_memcpy(part, codes, static_cast<size_t>(n));
    return simd::load_i8(part);
  } else {
    return widen_sixteen<T>(row + at * kCachedBytes<T>, n);
  }
}

template <DType T>
TOKAMAK_INLINE int64_t bytes_of_row(int64_t head_dim) {
  return T == DType::int8_row ? 2 + head_dim : head_dim * kCachedBytes<T>;
}

// The int8 scales of rows i … i + 15 of a run; behind its end the last one again.
TOKAMAK_INLINE F16x row_scales(const std::byte* rows, int64_t bytes, int i, int keys) {
  uint16_t half[16];
  for (int j = 0; j < 16; ++j)
    __builtin_memcpy(&half[j], rows + (i + j < keys ? i + j : keys - 1) * bytes, 2);
  return simd::load_f16(half);
}

// Asks for some more lines of the plan.
TOKAMAK_INLINE void fetch(FetchPlan& plan, int lines) {
  while (lines > 0 && plan.count > 0) {
    FetchRun& run = *plan.runs;
    for (; lines > 0 && run.at < run.end; run.at += 64, --lines) __builtin_prefetch(run.at, 0, 2);
    if (run.at >= run.end) ++plan.runs, --plan.count;
  }
}

// Lines to ask for with each of `steps` times four keys of a tile that asks with its scores and its
// values: so few that no buffer of outstanding reads fills.
TOKAMAK_INLINE int lines_of(const FetchPlan& plan, int steps) {
  return static_cast<int>((plan.bytes / 64 + 2 * steps - 1) / (2 * steps)) + 1;
}

// What products with keys leave of the lanes' sums: of sixteen keys in a vector each, or of four
// keys in one vector, where four keys' worth is at hand.
#if defined(__AVX512F__)
constexpr int kSumVectors = 4;
template <int H, int R>
TOKAMAK_INLINE void hand_over(const F16x (&part)[R * H], int first, F16x (*s)[kSumVectors]) {
  static_assert(R % 4 == 0);
  unrolled<R / 4 * H>([&]<int i>() __attribute__((always_inline)) {
    constexpr int k = i / H * 4 * H + i % H;
    s[i % H][first / 4 + i / H] =
        simd::quarter_sums(part[k], part[k + H], part[k + 2 * H], part[k + 3 * H]);
  });
}
TOKAMAK_INLINE F16x all_sums(const F16x (&s)[kSumVectors]) { return simd::sums_of_quarters(s); }
#else
constexpr int kSumVectors = 16;
template <int H, int R>
TOKAMAK_INLINE void hand_over(const F16x (&part)[R * H], int first, F16x (*s)[kSumVectors]) {
  unrolled<R * H>([&]<int i>()
                      __attribute__((always_inline)) { s[i % H][first + i / H] = part[i]; });
}
TOKAMAK_INLINE F16x all_sums(const F16x (&s)[kSumVectors]) { return simd::sums_of(s); }
#endif

// Heads that are no multiple of sixteen have a last piece of fewer columns.
template <DType T, int H, int R, bool kWhole>
TOKAMAK_INLINE void row_products(const DecodeTile& t, const std::byte* const* rows, const float* q,
                                 F16x (*s)[kSumVectors], int first) {
  const int64_t n = t.head_dim, ld = t.ld;
  F16x part[R * H];
  unrolled<R * H>([&]<int i>() __attribute__((always_inline)) { part[i] = simd::zero(); });
  const auto add = [&](int64_t d, int64_t count) __attribute__((always_inline)) {
    F16x of[H];
    unrolled<H>([&]<int h>()
                    __attribute__((always_inline)) { of[h] = simd::load(q + h * ld + d); });
    unrolled<R>([&]<int j>() __attribute__((always_inline)) {
      const F16x key = load_row<T>(rows[j], d, count);
      unrolled<H>([&]<int h>() __attribute__((always_inline)) {
        part[j * H + h] = simd::fma(of[h], key, part[j * H + h]);
      });
    });
  };
  int64_t d = 0;
  for (; d + 16 <= n; d += 16) add(d, 16);
  if (!kWhole && d < n) add(d, n - d);
  hand_over<H, R>(part, first, s);
}

// s[h]: lane sums of head h of H times the sixteen keys from `at` on of a run; behind its end the
// last key again. A function of its own, for the compiler to keep the sums in registers.
template <DType T, int H, bool kWhole>
__attribute__((noinline)) void key_products(const DecodeTile& t, const KeyRun& run, int at,
                                            const float* q, F16x (*s)[kSumVectors], int lines) {
  constexpr int kMost = kSumsAtOnce / H;
  constexpr int R = kMost >= 8 ? 8 : kMost >= 4 ? 4 : kMost >= 2 ? 2 : 1;
  const int64_t bytes = bytes_of_row<T>(t.head_dim);
  for (int first = 0; first < 16; first += R) {
    const std::byte* rows[R];
    fetch(*t.ahead, (lines * R + 3) / 4);
    unrolled<R>([&]<int j>() __attribute__((always_inline)) {
      const int key = at + first + j;
      rows[j] = run.k + (key < run.keys ? key : run.keys - 1) * bytes;
    });
    row_products<T, H, R, kWhole>(t, rows, q, s, first);
  }
}

// Scores of H heads against the keys of a run.
template <DType T, int H>
TOKAMAK_INLINE void run_scores(const DecodeTile& t, const KeyRun& run, const float* q,
                               float* scores, int lines) {
  for (int i = 0; i < run.keys; i += 16) {
    F16x s[H][kSumVectors];
    if (t.head_dim % 16 == 0)
      key_products<T, H, true>(t, run, i, q, s, lines);
    else
      key_products<T, H, false>(t, run, i, q, s, lines);
    const F16x scales = T == DType::int8_row
                            ? row_scales(run.k, bytes_of_row<T>(t.head_dim), i, run.keys)
                            : simd::zero();
    for (int h = 0; h < H; ++h) {
      F16x all = all_sums(s[h]);
      if (T == DType::int8_row) all = simd::mul(all, scales);
      if (t.softcap > 0) all = soft_cap(all, t.softcap);
      simd::store(scores + h * kScoreRow + i, all);
    }
  }
}

// Scores of one head become weights; its output so far shrinks to the new maximum.
TOKAMAK_INLINE void decode_softmax(const DecodeTile& t, int head) {
  float* scores = t.scores + head * kScoreRow;
  if (t.slopes != nullptr)
    for (int j = 0; j < t.keys; j += 16) {
      const F16x s =
          biased(simd::load(scores + j), t.slopes[head], t.distance + static_cast<float>(j));
      simd::store(scores + j, s);
    }
  simd::store(scores + t.keys, simd::set1(kMaskedScore));
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
  float* out = t.out + head * t.ld;
  for (int64_t d = 0; d < t.head_dim; d += 16)
    simd::store(out + d, simd::mul(simd::load(out + d), simd::set1(shrink[0])));
}

// Weights times the int8 scales of their values.
TOKAMAK_INLINE void scale_weights(const DecodeTile& t, const KeyRun& run, int heads, float* p) {
  const int64_t bytes = bytes_of_row<DType::int8_row>(t.head_dim);
  for (int i = 0; i < run.keys; i += 16) {
    const F16x scales = row_scales(run.v, bytes, i, run.keys);
    const int n = run.keys - i;
    for (int h = 0; h < heads; ++h) {
      float* at = p + h * kScoreRow + i;
      store_some(at, simd::mul(load_some(at, n), scales), n);
    }
  }
}

// out[H heads][C * 16 columns from c] += weights · values, in U sums apart.
template <DType T, int H, int C, bool kWhole>
TOKAMAK_INLINE void value_columns(const DecodeTile& t, int head, int64_t c, int lines) {
  constexpr int U = kSumsAtOnce / (H * C) >= 4 ? 4 : kSumsAtOnce / (H * C) >= 2 ? 2 : 1;
  const int64_t bytes = bytes_of_row<T>(t.head_dim), left = t.head_dim - c;
  F16x s[U][H][C];
#pragma GCC unroll 4
  for (int u = 0; u < U; ++u)
#pragma GCC unroll 8
    for (int h = 0; h < H; ++h)
#pragma GCC unroll 8
      for (int i = 0; i < C; ++i)
        s[u][h][i] = u > 0 ? simd::zero() : simd::load(t.out + (head + h) * t.ld + c + 16 * i);
  const float* p = t.scores + head * kScoreRow;
  for (int r = 0; r < t.run_count; ++r) {
    const KeyRun& run = t.runs[r];
    const std::byte* row = run.v;
    const auto add_key = [&](F16x(&to)[H][C], int j) __attribute__((always_inline)) {
#pragma GCC unroll 8
      for (int i = 0; i < C; ++i) {
        const F16x value = load_row<T>(row + j * bytes, c + 16 * i, kWhole ? 16 : left);
#pragma GCC unroll 8
        for (int h = 0; h < H; ++h)
          to[h][i] = simd::fma(value, simd::set1(p[h * kScoreRow + j]), to[h][i]);
      }
    };
    int j = 0;
    for (; j + 4 <= run.keys; j += 4) {
      fetch(*t.ahead, lines);
#pragma GCC unroll 4
      for (int u = 0; u < 4; ++u) add_key(s[u % U], j + u);
    }
    for (; j < run.keys; ++j) add_key(s[0], j);
    p += run.keys;
  }
#pragma GCC unroll 8
  for (int h = 0; h < H; ++h)
#pragma GCC unroll 8
    for (int i = 0; i < C; ++i) {
      F16x all = s[0][h][i];
#pragma GCC unroll 4
      for (int u = 1; u < U; ++u) all = simd::add(all, s[u][h][i]);
      simd::store(t.out + (head + h) * t.ld + c + 16 * i, all);
    }
}

template <DType T, int H>
void decode_heads(const DecodeTile& t, int head) {
  float* scores = t.scores + head * kScoreRow;
  const int left = t.heads - head, steps = (t.keys + 3) / 4 * ((left + H - 1) / H);
  const int lines = lines_of(*t.ahead, steps);
  for (int r = 0, at = 0; r < t.run_count; at += t.runs[r++].keys)
    run_scores<T, H>(t, t.runs[r], t.q + head * t.ld, scores + at, lines);
  for (int h = 0; h < H; ++h) decode_softmax(t, head + h);
  if (T == DType::int8_row)
    for (int r = 0, at = 0; r < t.run_count; at += t.runs[r++].keys)
      scale_weights(t, t.runs[r], H, scores + at);
  constexpr int C = kSumsAtOnce >= 16 ? 4 : 1;
  int64_t c = 0;
  const auto lines_at = [&] { return c == 0 ? lines : 0; };
  for (; c + 16 * C <= t.head_dim; c += 16 * C)
    value_columns<T, H, C, true>(t, head, c, lines_at());
  for (; c + 16 <= t.head_dim; c += 16) value_columns<T, H, 1, true>(t, head, c, lines_at());
  if (c < t.head_dim) value_columns<T, H, 1, false>(t, head, c, lines_at());
}

template <DType T>
void decode_of(const DecodeTile& t) {
  int h = 0;
  for (; h + 4 <= t.heads; h += 4) decode_heads<T, 4>(t, h);
  if (t.heads - h == 3)
    decode_heads<T, 3>(t, h);
  else if (t.heads - h == 2)
    decode_heads<T, 2>(t, h);
  else if (t.heads - h == 1)
    decode_heads<T, 1>(t, h);
}

void decode(const DecodeTile& t) {
  if (t.dtype == DType::int8_row)
    decode_of<DType::int8_row>(t);
  else if (t.dtype == DType::f8e4m3)
    decode_of<DType::f8e4m3>(t);
  else if (t.dtype == DType::f16)
    decode_of<DType::f16>(t);
  else if (t.dtype == DType::bf16)
    decode_of<DType::bf16>(t);
  else
    decode_of<DType::f32>(t);
  fetch(*t.ahead, 1 << 20);  // what is left
}

void fetch_all(FetchPlan& plan) { fetch(plan, 1 << 20); }

}  // namespace
}  // namespace tokamak
