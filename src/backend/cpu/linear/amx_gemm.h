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

// One step: all products of M activation tiles, a_next bytes apart, and N weight tiles. Activations
// that stream past the weights must not push these out of the first cache.
template <int M, int N, bool kStream = false>
TOKAMAK_INLINE void add_products(const std::byte* a, size_t a_next, const std::byte* b,
                                 size_t b_next) {
  each_sum<M, N>([&]<int I, int m, int n>() __attribute__((always_inline)) {
    if constexpr (n == 0 && kStream) tiles::load_once<4 + m>(a + m * a_next);
    if constexpr (n == 0 && !kStream) tiles::load<4 + m>(a + m * a_next);
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
struct Weights {
  const AmxTask& t;
  WidenFn widen = nullptr;  // null: ready
  size_t scale_bytes = 0, step_bytes = kTileBytes;
  int64_t steps = (t.k + kAmxStep - 1) / kAmxStep;

  const std::byte* group(int weight, int64_t g) const {
    return t.weight[weight] + static_cast<size_t>(g) * t.group_bytes;
  }
  // Tiles of steps [begin, end) of groups from g; next: how far apart the groups' tiles are.
  TOKAMAK_INLINE const std::byte* reach(int64_t groups, int weight, int64_t g, int64_t begin,
                                        int64_t end, std::byte* panel, size_t& next) const {
    if (widen == nullptr) {
      next = t.group_bytes;
      return group(weight, g) + static_cast<size_t>(begin) * kTileBytes;
    }
    next = static_cast<size_t>(end - begin) * kTileBytes;
    for (int64_t n = 0; n < groups; ++n)
      widen(group(weight, g + n), t.k, begin, end, panel + static_cast<size_t>(n) * next);
    return panel;
  }
  // Where steps from `begin` of a group are stored.
  const std::byte* source(int weight, int64_t g, int64_t begin) const {
    return group(weight, g) + scale_bytes + static_cast<size_t>(begin) * step_bytes;
  }
  const std::byte* activations(int64_t stretch_begin, int64_t stretch_steps, int64_t tile) const {
    const int64_t at = stretch_begin * t.tiles + (t.tile_begin + tile) * stretch_steps;
    return t.x + static_cast<size_t>(at) * kTileBytes;
  }
};

// Few tokens: the sums of N groups stay in registers over all inputs. Weights are widened a few
// steps ahead of their products, in turns in two places: tiles load slowly what was just stored.
constexpr int64_t kFewSteps = 2;

struct Chunk {
  const std::byte* a = nullptr;
  const std::byte* b = nullptr;
  size_t a_next = 0, b_next = 0;
  int64_t steps = 0;
};

template <int M, int N, bool kPrefetch>
TOKAMAK_INLINE void add_chunk(const Chunk& c) {
  for (int64_t i = 0; i < c.steps; ++i) {
    const std::byte* b = c.b + static_cast<size_t>(i) * kTileBytes;
    if constexpr (kPrefetch) prefetch_steps<N>(b, c.b_next);
    add_products<M, N>(c.a + static_cast<size_t>(i) * kTileBytes, c.a_next, b, c.b_next);
  }
}

template <int M, int N>
void few_groups(const Weights& w, int weight, int64_t g) {
  const AmxTask& t = w.t;
  const bool ready = w.widen == nullptr;
  clear_sums<M, N>();
  Chunk before;  // widened, its products to be added
  size_t place = 0;
  for (int64_t s = 0; s < w.steps; s += t.stretch) {
    Chunk c;
    const int64_t in_stretch = least(t.stretch, w.steps - s), most = ready ? in_stretch : kFewSteps;
    c.a_next = static_cast<size_t>(in_stretch) * kTileBytes;
    for (int64_t i = 0; i < in_stretch; i += most) {
      c.a = w.activations(s, in_stretch, 0) + static_cast<size_t>(i) * kTileBytes;
      c.steps = least(most, in_stretch - i);
      c.b = w.reach(N, weight, g, s + i, s + i + c.steps, t.panel + place, c.b_next);
      if (ready) {
        add_chunk<M, N, true>(c);
        continue;
      }
      add_chunk<M, N, false>(before);
      before = c;
      place = static_cast<size_t>(N * kFewSteps) * kTileBytes - place;
    }
  }
  add_chunk<M, N, false>(before);
  const int64_t group_floats = t.tile_count * 256;
  store_sums<M, N>(t.sums + (weight * t.groups + g) * group_floats, group_floats);
}

template <int M, int N>
void few_tokens(const Weights& w) {
  const AmxTask& t = w.t;
  for (int weight = 0; weight < t.weights; ++weight) {
    int64_t g = 0;
    for (; g + N <= t.groups; g += N) few_groups<M, N>(w, weight, g);
    for (; g < t.groups; ++g) few_groups<M, 1>(w, weight, g);
  }
}

// Many tokens: a stretch of a few groups stays in the first cache while all token tiles pass, two
// by two with the groups.
struct Pass {
  const std::byte* a;  // activations of the first token tile, the others a_next apart
  size_t a_next;
  const std::byte* b;  // weights
  size_t b_next;
  int64_t steps;
  bool add;
  float* sums;
  int64_t group_floats;
};

template <int M, int N>
TOKAMAK_INLINE void pass_tiles(const Pass& p, Ahead& ahead) {
  if (p.add)
    load_sums<M, N>(p.sums, p.group_floats);
  else
    clear_sums<M, N>();
  for (int64_t i = 0; i < p.steps; ++i) {
    const size_t at = static_cast<size_t>(i) * kTileBytes;
    add_products<M, N, true>(p.a + at, p.a_next, p.b + at, p.b_next);
    ahead.ask();
  }
  store_sums<M, N>(p.sums, p.group_floats);
}

// M token tiles by all groups of the panel.
template <int M>
TOKAMAK_INLINE void pass_groups(Pass p, int64_t groups, Ahead& ahead) {
  for (; groups >= 2; groups -= 2, p.b += 2 * p.b_next, p.sums += 2 * p.group_floats)
    pass_tiles<M, 2>(p, ahead);
  if (groups > 0) pass_tiles<M, 1>(p, ahead);
}

void pass_all(Pass p, int64_t tile_count, int64_t groups, Ahead ahead) {
  for (; tile_count >= 2; tile_count -= 2, p.a += 2 * p.a_next, p.sums += 512)
    pass_groups<2>(p, groups, ahead);
  if (tile_count > 0) pass_groups<1>(p, groups, ahead);
}

// What the panel after (stretch s, panel i) is made of.
Ahead next_panel(const Weights& w, int64_t s, int64_t i, int64_t panels) {
  const AmxTask& t = w.t;
  const int64_t each = panels / t.weights, next = (i + 1) % panels;
  const int64_t begin = i + 1 < panels ? s : s + t.stretch, end = least(begin + t.stretch, w.steps);
  if (begin >= w.steps) return {};
  const int64_t g = next % each * t.panel_groups, groups = least(t.panel_groups, t.groups - g);
  const size_t bytes = static_cast<size_t>(end - begin) * w.step_bytes;
  const int64_t uses = (t.tile_count + 1) / 2 * ((groups + 1) / 2) * t.stretch;
  const int64_t lines = (groups * static_cast<int64_t>(bytes) / 64 + uses - 1) / uses;
  return {w.source(static_cast<int>(next / each), g, begin), bytes, t.group_bytes, groups,
          static_cast<int>(least(lines, 16))};
}

void many_tokens(const Weights& w) {
  const AmxTask& t = w.t;
  const int64_t each = (t.groups + t.panel_groups - 1) / t.panel_groups, panels = t.weights * each;
  for (int64_t s = 0; s < w.steps; s += t.stretch) {
    const int64_t end = least(s + t.stretch, w.steps);
    for (int64_t i = 0; i < panels; ++i) {
      const auto weight = static_cast<int>(i / each);
      const int64_t g = i % each * t.panel_groups, groups = least(t.panel_groups, t.groups - g);
      Pass p;
      p.a = w.activations(s, end - s, 0);
      p.a_next = static_cast<size_t>(end - s) * kTileBytes;
      p.steps = end - s;
      p.add = s > 0;
      p.group_floats = t.tile_count * 256;
      p.sums = t.sums + (weight * t.groups + g) * p.group_floats;
      p.b = w.reach(groups, weight, g, s, end, t.panel, p.b_next);
      pass_all(p, t.tile_count, groups, next_panel(w, s, i, panels));
    }
  }
}

void sum(const Weights& w) {
  if (w.t.tile_count == 1) return few_tokens<1, 4>(w);
  if (w.t.tile_count == 2) return few_tokens<2, 2>(w);
  many_tokens(w);
}

template <DType D>
void sum(const AmxTask& t) {
  if constexpr (rows16_is_block(D))
    sum({t, widen<D>, rows16_scales(D, t.k), rows16_format(D).data_bytes});
  else
    sum({t, D == DType::bf16 && t.k % kAmxStep == 0 ? nullptr : widen<D>});
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
#define TOKAMAK_CASE(t) \
  case DType::t:        \
    return table<DType::t>();
    TOKAMAK_CASE(bf16)
    TOKAMAK_CASE(f16)
    TOKAMAK_CASE(q4_0)
    TOKAMAK_CASE(q4_1)
    TOKAMAK_CASE(q5_0)
    TOKAMAK_CASE(q5_1)
    TOKAMAK_CASE(q8_0)
    TOKAMAK_CASE(q2_k)
    TOKAMAK_CASE(q3_k)
    TOKAMAK_CASE(q4_k)
    TOKAMAK_CASE(q5_k)
    TOKAMAK_CASE(q6_k)
    TOKAMAK_CASE(int8_g64)
    TOKAMAK_CASE(int8_g128)
    TOKAMAK_CASE(int8_row)
    TOKAMAK_CASE(int8a_g32)
    TOKAMAK_CASE(int8a_g64)
    TOKAMAK_CASE(int8a_g128)
    TOKAMAK_CASE(int8a_row)
    TOKAMAK_CASE(int4_g64)
    TOKAMAK_CASE(int4_g128)
    TOKAMAK_CASE(int4_row)
    TOKAMAK_CASE(int4a_g64)
    TOKAMAK_CASE(int4a_g128)
    TOKAMAK_CASE(int4a_row)
#undef TOKAMAK_CASE
    default:
      return nullptr;
  }
}

}  // namespace
}  // namespace tokamak
