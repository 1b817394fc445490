// Sums of products of bf16 tiles: two token tiles by two groups of outputs at once in registers, so
// that four products share four loads. Layouts: amx_linear.h.
#pragma once
#include <utility>

#include "backend/cpu/linear/amx_linear.h"
#include "backend/cpu/linear/amx_panel.h"
#include "backend/cpu/linear/finish.h"

namespace tokamak {
namespace {

using tiles::kTileBytes;

TOKAMAK_INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

// M token tiles by N groups: sums in tile n + N m, activations in 4 + m, weights in the others.
template <int M>
constexpr int weight_tile(int n) {
  return M == 1 ? 5 + n % 3 : 6 + n;
}
// f(number of the sum tile, m, n) with constants.
template <int M, int N, typename F>
TOKAMAK_INLINE void each_sum(F f) {
  [&]<int... I>(std::integer_sequence<int, I...>) __attribute__((always_inline)) {
    (f.template operator()<I, I / N, I % N>(), ...);
  }
  (std::make_integer_sequence<int, M * N>());
}

template <int M, int N>
TOKAMAK_INLINE void clear_sums() {
  each_sum<M, N>([]<int I, int, int>() __attribute__((always_inline)) { tiles::zero<I>(); });
}
// Sums of group n lie group_floats behind those of group n - 1.
template <int M, int N>
TOKAMAK_INLINE void load_sums(const float* sums, int64_t group_floats) {
  each_sum<M, N>([&]<int I, int m, int n>() __attribute__((always_inline)) {
    tiles::load<I>(sums + n * group_floats + m * 256);
  });
}
template <int M, int N>
TOKAMAK_INLINE void store_sums(float* sums, int64_t group_floats) {
  each_sum<M, N>([&]<int I, int m, int n>() __attribute__((always_inline)) {
    tiles::store<I>(sums + n * group_floats + m * 256);
  });
}

// One step: all products of M activation tiles, a_next bytes apart, and N weight tiles.
template <int M, int N>
TOKAMAK_INLINE void add_products(const std::byte* a, size_t a_next, const std::byte* b,
                                 size_t b_next) {
  each_sum<M, N>([&]<int I, int m, int n>() __attribute__((always_inline)) {
    if constexpr (n == 0) tiles::load<4 + m>(a + m * a_next);
    if constexpr (m == 0) tiles::load<weight_tile<M>(n)>(b + n * b_next);
    tiles::dot_bf16<I, 4 + m, weight_tile<M>(n)>();
  });
}

// Weights straight from memory: each step asks for those of a later one.
template <int N>
TOKAMAK_INLINE void prefetch_steps(const std::byte* b, size_t b_next) {
  for (int n = 0; n < N; ++n)
    for (size_t line = 0; line < kTileBytes; line += 64)
      prefetch(b + static_cast<size_t>(n) * b_next + kPrefetchBytes + line);
}

// How the task's weights are reached: bf16 groups of whole steps lie ready, others are widened.
template <DType D>
struct Weights {
  const AmxTask& t;
  int64_t steps = (t.k + kAmxStep - 1) / kAmxStep;
  bool ready = D == DType::bf16 && t.k % kAmxStep == 0;

  const std::byte* group(int weight, int64_t g) const {
    return t.weight[weight] + static_cast<size_t>(g) * t.group_bytes;
  }
  // Tiles of steps [begin, end) of N groups from g; next: how far apart the groups' tiles are.
  template <int N>
  TOKAMAK_INLINE const std::byte* reach(int weight, int64_t g, int64_t begin, int64_t end,
                                        size_t& next) const {
    if (ready) {
      next = t.group_bytes;
      return group(weight, g) + static_cast<size_t>(begin) * kTileBytes;
    }
    next = static_cast<size_t>(end - begin) * kTileBytes;
    for (int n = 0; n < N; ++n) widen<D>(group(weight, g + n), t.k, begin, end, t.panel + n * next);
    return t.panel;
  }
  // Where steps from `begin` of a group are stored.
  const std::byte* source(int weight, int64_t g, int64_t begin) const {
    return group(weight, g) + rows16_scales(D, t.k) + static_cast<size_t>(begin) * step_bytes();
  }
  static constexpr size_t step_bytes() {
    return kIsBlock<D> ? static_cast<size_t>(rows16_format(D).data_bytes) : kTileBytes;
  }
  const std::byte* activations(int64_t stretch_begin, int64_t stretch_steps, int64_t tile) const {
    return t.x +
           static_cast<size_t>(stretch_begin * t.tiles + (t.tile_begin + tile) * stretch_steps) *
               kTileBytes;
  }
};

// Few tokens: the sums of N groups stay in registers over all inputs.
constexpr int64_t kFewSteps = 4;  // widened at once

template <DType D, int M, int N>
void few_groups(const AmxTask& t, int weight, int64_t g) {
  const Weights<D> w{t};
  clear_sums<M, N>();
  for (int64_t s = 0; s < w.steps; s += t.stretch) {
    const int64_t in_stretch = least(t.stretch, w.steps - s);
    const std::byte* a = w.activations(s, in_stretch, 0);
    const size_t a_next = static_cast<size_t>(in_stretch) * kTileBytes;
    const int64_t at_once = w.ready ? in_stretch : kFewSteps;
    for (int64_t i = 0; i < in_stretch; i += at_once) {
      const int64_t end = least(i + at_once, in_stretch);
      size_t b_next;
      const std::byte* b = w.template reach<N>(weight, g, s + i, s + end, b_next);
      for (int64_t step = i; step < end; ++step, b += kTileBytes) {
        if (w.ready) prefetch_steps<N>(b, b_next);
        add_products<M, N>(a + static_cast<size_t>(step) * kTileBytes, a_next, b, b_next);
      }
    }
  }
  const int64_t group_floats = t.tile_count * 256;
  store_sums<M, N>(t.sums + (weight * t.groups + g) * group_floats, group_floats);
}

template <DType D, int M, int N>
void few_tokens(const AmxTask& t) {
  for (int weight = 0; weight < t.weights; ++weight) {
    int64_t g = 0;
    for (; g + N <= t.groups; g += N) few_groups<D, M, N>(t, weight, g);
    for (; g < t.groups; ++g) few_groups<D, M, 1>(t, weight, g);
  }
}

// Many tokens: a stretch of two groups stays in the first cache while all token tiles pass.
struct Pass {
  const std::byte* a;
  size_t a_next;
  const std::byte* b;
  size_t b_next;
  int64_t steps;
  bool add;
};

template <int M, int N>
TOKAMAK_INLINE void pass_tiles(const Pass& p, float* sums, int64_t group_floats,
                               Ahead (&ahead)[2]) {
  if (p.add)
    load_sums<M, N>(sums, group_floats);
  else
    clear_sums<M, N>();
  for (int64_t i = 0; i < p.steps; ++i) {
    const size_t at = static_cast<size_t>(i) * kTileBytes;
    add_products<M, N>(p.a + at, p.a_next, p.b + at, p.b_next);
    ahead[0].ask(2);
    ahead[1].ask(2);
  }
  store_sums<M, N>(sums, group_floats);
}

template <int N>
void pass_all(Pass p, int64_t tile_count, float* sums, Ahead (&ahead)[2]) {
  const int64_t group_floats = tile_count * 256;
  int64_t tile = 0;
  for (; tile + 2 <= tile_count; tile += 2, p.a += 2 * p.a_next, sums += 512)
    pass_tiles<2, N>(p, sums, group_floats, ahead);
  if (tile < tile_count) pass_tiles<1, N>(p, sums, group_floats, ahead);
}

template <DType D>
void many_tokens(const AmxTask& t) {
  const Weights<D> w{t};
  const int64_t pairs = (t.groups + 1) / 2, panels = t.weights * pairs;
  for (int64_t s = 0; s < w.steps; s += t.stretch) {
    const int64_t end = least(s + t.stretch, w.steps);
    Pass p{w.activations(s, end - s, 0),
           static_cast<size_t>(end - s) * kTileBytes,
           nullptr,
           0,
           end - s,
           s > 0};
    for (int64_t i = 0; i < panels; ++i) {
      const auto weight = static_cast<int>(i / pairs);
      const int64_t g = i % pairs * 2;
      float* sums = t.sums + (weight * t.groups + g) * t.tile_count * 256;
      Ahead ahead[2];
      const int64_t next = (i + 1) % panels, next_s = i + 1 < panels ? s : end;
      const int64_t bytes =
          (least(next_s + t.stretch, w.steps) - next_s) * static_cast<int64_t>(w.step_bytes());
      for (int n = 0; n < 2 && bytes > 0; ++n) {
        const int64_t ng = least(next % pairs * 2 + n, t.groups - 1);
        ahead[n].at = w.source(static_cast<int>(next / pairs), ng, next_s);
        ahead[n].end = ahead[n].at + bytes;
      }
      if (g + 2 <= t.groups) {
        p.b = w.template reach<2>(weight, g, s, end, p.b_next);
        pass_all<2>(p, t.tile_count, sums, ahead);
      } else {
        p.b = w.template reach<1>(weight, g, s, end, p.b_next);
        pass_all<1>(p, t.tile_count, sums, ahead);
      }
    }
  }
}

template <DType D>
void sum(const AmxTask& t) {
  if (t.tile_count == 1) return few_tokens<D, 1, 4>(t);
  if (t.tile_count == 2) return few_tokens<D, 2, 2>(t);
  many_tokens<D>(t);
}

// Thirty-two inputs of a token, rounded to bf16 (to nearest even), as one tile row.
TOKAMAK_INLINE void store_inputs(std::byte* out, __m512 lo, __m512 hi) {
#if defined(__AVX512BF16__)
  _mm512_store_si512(out, (__m512i)_mm512_cvtne2ps_pbh(hi, lo));
#else
  const auto round = [](__m512 x) __attribute__((always_inline)) {
    const __m512i v = _mm512_castps_si512(x);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(v, 16), _mm512_set1_epi32(1));
    const __m512i up = _mm512_add_epi32(v, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    const __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    const __m512i quiet = _mm512_or_si512(v, _mm512_set1_epi32(0x400000));
    return _mm512_cvtepi32_epi16(_mm512_srli_epi32(_mm512_mask_mov_epi32(up, nan, quiet), 16));
  };
  _mm256_store_si256(reinterpret_cast<__m256i*>(out), round(lo));
  _mm256_store_si256(reinterpret_cast<__m256i*>(out + 32), round(hi));
#endif
}

void pack(const float* x, int64_t stride, int tokens, int64_t k, int64_t step_begin,
          int64_t step_end, std::byte* out) {
  const size_t bytes = static_cast<size_t>(step_end - step_begin) * kTileBytes;
  for (int t = 0; t < kAmxTokens; ++t, out += tiles::kTileRow) {
    const float* row = x + t * stride;
    for (size_t at = 0; at < bytes; at += kTileBytes) {
      const int64_t i = step_begin * kAmxStep + static_cast<int64_t>(at / kTileBytes) * kAmxStep;
      const auto n = static_cast<int>(t < tokens ? least(kAmxStep, k - i) : 0);
      if (n == kAmxStep)
        store_inputs(out + at, simd::load(row + i).v, simd::load(row + i + 16).v);
      else
        store_inputs(out + at, n > 0 ? simd::load_n(row + i, n < 16 ? n : 16).v : simd::zero().v,
                     n > 16 ? simd::load_n(row + i + 16, n - 16).v : simd::zero().v);
    }
  }
}

void configure() { tiles::configure(); }
void release() { tiles::release(); }

template <DType D>
const AmxLinearKernels* table() {
  static constexpr AmxLinearKernels kTable = {configure, release, pack, sum<D>, finish};
  return &kTable;
}

const AmxLinearKernels* kernels_for(DType weight) {
  switch (weight) {
    case DType::bf16:
      return table<DType::bf16>();
    case DType::f16:
      return table<DType::f16>();
    case DType::q4_0:
      return table<DType::q4_0>();
    case DType::q4_1:
      return table<DType::q4_1>();
    case DType::q5_0:
      return table<DType::q5_0>();
    case DType::q5_1:
      return table<DType::q5_1>();
    case DType::q8_0:
      return table<DType::q8_0>();
    case DType::q4_k:
      return table<DType::q4_k>();
    case DType::q5_k:
      return table<DType::q5_k>();
    case DType::q6_k:
      return table<DType::q6_k>();
    default:
      return nullptr;
  }
}

}  // namespace
}  // namespace tokamak
