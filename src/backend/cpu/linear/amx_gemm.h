// Sums of products of bf16 tiles. As few tile registers hold data as will do, and weights always
// come through the same one: a core that a busy hyperthread shares runs out of physical registers
// for them, and two sums with four registers are then twice as fast as four sums with all eight.
// Alone on its core either reaches the peak. Layouts: amx_linear.h.
#pragma once
#include <utility>

#include "backend/cpu/linear/amx_linear.h"
#include "backend/cpu/linear/amx_panel.h"
#include "backend/cpu/linear/finish.h"

namespace tokamak {
namespace {

using tiles::kTileBytes;

TOKAMAK_INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

// M token tiles by N groups: sums in tile n + N m, then the activations, then a weight.
template <int M, int N>
constexpr int activation_tile(int m) {
  return M * N + m;
}
template <int M, int N>
constexpr int kWeightTile = M* N + M;
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

// One step of one token tile: its products with N weight tiles. Activations that stream past the
// weights must not push these out of the first cache.
template <int N>
TOKAMAK_INLINE void add_products(const std::byte* a, const std::byte* b, size_t b_next) {
  constexpr int kA = activation_tile<1, N>(0), kB = kWeightTile<1, N>;
  tiles::load_once<kA>(a);
  each_sum<1, N>([&]<int I, int, int n>() __attribute__((always_inline)) {
    tiles::load<kB>(b + n * b_next);
    tiles::dot_bf16<I, kA, kB>();
  });
}

// How the task's weights are reached: bf16 groups of whole steps lie ready, others are widened.
template <DType D, bool kReady>
struct Weights {
  const AmxTask& t;
  int64_t steps = (t.k + kAmxStep - 1) / kAmxStep;

  const std::byte* group(int weight, int64_t g) const {
    return t.weight[weight] + static_cast<size_t>(g) * t.group_bytes;
  }
  const std::byte* ready(int weight, int64_t g, int64_t step) const {
    return group(weight, g) + static_cast<size_t>(step) * kTileBytes;
  }
  const std::byte* activations(int64_t stretch_begin, int64_t stretch_steps, int64_t tile) const {
    const int64_t at = stretch_begin * t.tiles + (t.tile_begin + tile) * stretch_steps;
    return t.x + static_cast<size_t>(at) * kTileBytes;
  }
};

// Few tokens: the sums of N groups stay in registers over all inputs. Weights are widened a step
// ahead of their products, tile by tile between these, so that vectors and tiles work at the
// same time; tiles load slowly what was just stored.
constexpr int64_t kFewAhead = 1, kFewPlaces = 2;

// Where N groups that are read side by side stand: asks the second cache for what lies
// kPrefetchBytes ahead in each, past their end for the same of the N groups at `next`.
template <int N>
class FewAhead {
 public:
  TOKAMAK_INLINE FewAhead(const std::byte* w, size_t group_bytes, int64_t steps,
                          const std::byte* next)
      : p_(w),
        next_(next),
        group_bytes_(group_bytes),
        step_bytes_((group_bytes + static_cast<size_t>(steps) - 1) / static_cast<size_t>(steps)),
        at_(kPrefetchBytes),
        end_(kPrefetchBytes) {
    turn();
  }
  // A step of each group has been read.
  TOKAMAK_INLINE void advance() {
    end_ += step_bytes_;
    for (; at_ < end_; at_ += 64) {
      const char* p = reinterpret_cast<const char*>(p_) + at_;
#pragma GCC unroll 4
      for (int n = 0; n < N; ++n, p += group_bytes_) _mm_prefetch(p, _MM_HINT_T1);
    }
    turn();
  }

 private:
  TOKAMAK_INLINE void turn() {
    if (at_ < group_bytes_) return;
    at_ -= group_bytes_, end_ -= group_bytes_, p_ = next_;
  }
  const std::byte *p_, *next_;
  size_t group_bytes_, step_bytes_, at_, end_;
};

template <DType D, bool kReady, int M, int N>
struct FewGroups {
  const Weights<D, kReady>& w;
  int weight;
  int64_t g;
  const std::byte* next;  // read after these groups

  std::byte* place(int64_t step, int n) const {
    return w.t.panel + static_cast<size_t>(step % kFewPlaces * N + n) * kTileBytes;
  }
  TOKAMAK_INLINE void widen_tile(int64_t step, int n) const {
    widen_step<D, 0>(w.group(weight, g + n), w.t.k, step, place(step, n));
  }
  // The products of one step; kWiden: between them the widening of a later one.
  template <bool kWiden>
  TOKAMAK_INLINE void add_step(int64_t step, const std::byte* a, size_t a_next) const {
    [&]<int... n>(std::integer_sequence<int, n...>) __attribute__((always_inline)) {
      (add_group<kWiden, n>(step, a, a_next), ...);
    }
    (std::make_integer_sequence<int, N>());
  }
  template <bool kWiden, int n>
  TOKAMAK_INLINE void add_group(int64_t step, const std::byte* a, size_t a_next) const {
    if constexpr (kWiden) widen_tile(step + kFewAhead, n);
    if constexpr (n == 0) {
      tiles::load<activation_tile<M, N>(0)>(a);
      if constexpr (M == 2) tiles::load<activation_tile<M, N>(1)>(a + a_next);
    }
    const std::byte* b = kReady ? w.ready(weight, g + n, step) : place(step, n);
    constexpr int kB = kWeightTile<M, N>;
    tiles::load<kB>(b);
    tiles::dot_bf16<n, activation_tile<M, N>(0), kB>();
    if constexpr (M == 2) tiles::dot_bf16<N + n, activation_tile<M, N>(1), kB>();
  }
  void sum() const {
    const AmxTask& t = w.t;
    if constexpr (!kReady)
      for (int64_t s = 0; s < least(kFewAhead, w.steps); ++s)
        for (int n = 0; n < N; ++n) widen_tile(s, n);
    clear_sums<M, N>();
    FewAhead<N> ahead(w.group(weight, g), t.group_bytes, w.steps, next);
    for (int64_t s = 0; s < w.steps; s += t.stretch) {
      const int64_t end = least(s + t.stretch, w.steps);
      const auto a_next = static_cast<size_t>(end - s) * kTileBytes;
      const std::byte* a = w.activations(s, end - s, 0);
      int64_t i = s;
      for (; !kReady && i < least(end, w.steps - kFewAhead); ++i, a += kTileBytes) {
        ahead.advance();
        add_step<!kReady>(i, a, a_next);
      }
      for (; i < end; ++i, a += kTileBytes) {
        ahead.advance();
        add_step<false>(i, a, a_next);
      }
    }
    const int64_t group_floats = t.tile_count * 256;
    store_sums<M, N>(t.sums + (weight * t.groups + g) * group_floats, group_floats);
  }
};

template <DType D, bool kReady, int M, int N>
void few_tokens(const Weights<D, kReady>& w) {
  const AmxTask& t = w.t;
  for (int weight = 0; weight < t.weights; ++weight) {
    // After all groups of a weight those of the next one, then another task's.
    const auto after = [&](int64_t end) {
      if (end < t.groups) return w.group(weight, end);
      if (weight + 1 < t.weights) return w.group(weight + 1, 0);
      return t.next != nullptr ? t.next : w.group(0, end);
    };
    int64_t g = 0;
    for (; g + N <= t.groups; g += N) FewGroups<D, kReady, M, N>{w, weight, g, after(g + N)}.sum();
    if constexpr (N > 2)
      for (; g + 2 <= t.groups; g += 2)
        FewGroups<D, kReady, M, 2>{w, weight, g, after(g + 2)}.sum();
    for (; g < t.groups; ++g) FewGroups<D, kReady, M, 1>{w, weight, g, after(g + 1)}.sum();
  }
}

// Many tokens: a panel, which is a stretch of a few groups, stays in the first cache while all
// token tiles pass.
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

// Where a panel stands: groups [group, group + groups) of a weight, steps [begin, end).
struct PanelAt {
  int weight = 0;
  int64_t group = 0, groups = 0, begin = 0, end = 0;
  int64_t tiles() const { return groups * (end - begin); }
};

// What is done between the products of a panel: the next one's weights are widened, or asked for,
// and the next stretch's activations asked for.
template <DType D, bool kReady>
struct Beside {
  const Weights<D, kReady>& w;
  PanelAt next;
  std::byte* panel = nullptr;  // the next one's
  int64_t every = 1;           // steps for one tile of it
  Ahead activations;
  int64_t waited = 0, done = 0, group = 0, step = 0;

  __attribute__((noinline)) void tile() {
    const std::byte* weights = w.group(next.weight, next.group + group);
    const int64_t at = next.begin + step;
    if constexpr (kReady) {
      const std::byte* p = weights + static_cast<size_t>(at) * kTileBytes;
      for (size_t line = 0; line < kTileBytes; line += 64)
        _mm_prefetch(reinterpret_cast<const char*>(p + line), _MM_HINT_T1);
    } else {
      widen_step<D, kPanelPrefetchBytes>(weights, w.t.k, at,
                                         panel + static_cast<size_t>(done) * kTileBytes);
    }
    ++done;
    if (++step == next.end - next.begin) {
      step = 0;
      ++group;
    }
  }
  TOKAMAK_INLINE void ask() {
    activations.ask();
    if (++waited < every) return;
    waited = 0;
    if (done < next.tiles()) tile();
  }
  void rest() {
    while (done < next.tiles()) tile();
  }
};

template <int N, typename B>
TOKAMAK_INLINE void pass_tile(const Pass& p, B& beside) {
  if (p.add)
    load_sums<1, N>(p.sums, p.group_floats);
  else
    clear_sums<1, N>();
  for (int64_t i = 0; i < p.steps; ++i) {
    const size_t at = static_cast<size_t>(i) * kTileBytes;
    add_products<N>(p.a + at, p.b + at, p.b_next);
    beside.ask();
  }
  store_sums<1, N>(p.sums, p.group_floats);
}

// A token tile by all groups of the panel, two by two.
template <typename B>
TOKAMAK_INLINE void pass_groups(Pass p, int64_t groups, B& beside) {
  for (; groups >= 2; groups -= 2, p.b += 2 * p.b_next, p.sums += 2 * p.group_floats)
    pass_tile<2>(p, beside);
  if (groups > 0) pass_tile<1>(p, beside);
}

template <typename B>
void pass_all(Pass p, int64_t tile_count, int64_t groups, B& beside) {
  for (; tile_count > 0; --tile_count, p.a += p.a_next, p.sums += 256)
    pass_groups(p, groups, beside);
}

template <DType D, bool kReady>
struct ManyTokens {
  const Weights<D, kReady> w;
  const AmxTask& t = w.t;
  int64_t each = (t.groups + t.panel_groups - 1) / t.panel_groups, panels = t.weights * each;

  // Panel i of the stretch that begins at step s; without groups behind the last.
  PanelAt panel_at(int64_t s, int64_t i) const {
    PanelAt p;
    if (i >= panels) {
      i -= panels;
      s += t.stretch;
    }
    if (s >= w.steps) return p;
    p.weight = static_cast<int>(i / each);
    p.group = i % each * t.panel_groups;
    p.groups = least(t.panel_groups, t.groups - p.group);
    p.begin = s;
    p.end = least(s + t.stretch, w.steps);
    return p;
  }
  // Two panels in turns.
  std::byte* place(int64_t turn) const {
    return t.panel + static_cast<size_t>(turn % 2 * t.panel_groups * t.stretch) * kTileBytes;
  }
  // Panel i's share of the next stretch's activations, to be asked for in `steps` calls.
  Ahead next_activations(int64_t s, int64_t i, int64_t steps) const {
    const int64_t begin = s + t.stretch, end = least(begin + t.stretch, w.steps);
    if (begin >= w.steps) return {};
    const int64_t lines = t.tile_count * (end - begin) * 16 / panels;
    Ahead a;
    a.part = w.activations(begin, end - begin, 0) + static_cast<size_t>(i * lines) * 64;
    a.bytes = static_cast<size_t>(lines) * 64;
    a.parts = 1;
    a.lines = static_cast<int>(least((lines + steps - 1) / steps, 16));
    return a;
  }
  void sum() const {
    int64_t turn = 0;
    Beside<D, kReady> first{w, panel_at(0, 0), place(0), 1, {}};
    first.rest();
    for (int64_t s = 0; s < w.steps; s += t.stretch)
      for (int64_t i = 0; i < panels; ++i, ++turn) pass(s, i, turn);
  }
  void pass(int64_t s, int64_t i, int64_t turn) const {
    const PanelAt at = panel_at(s, i), next = panel_at(s, i + 1);
    Pass p;
    p.a = w.activations(s, at.end - s, 0);
    p.steps = at.end - s;
    p.a_next = static_cast<size_t>(p.steps) * kTileBytes;
    p.add = s > 0;
    p.group_floats = t.tile_count * 256;
    p.sums = t.sums + (at.weight * t.groups + at.group) * p.group_floats;
    p.b = kReady ? w.ready(at.weight, at.group, s) : place(turn);
    p.b_next = kReady ? t.group_bytes : p.a_next;
    const int64_t steps = t.tile_count * ((at.groups + 1) / 2) * p.steps;
    const int64_t every = next.groups > 0 ? steps / next.tiles() : 1;
    Beside<D, kReady> beside{w, next, place(turn + 1), every, this->next_activations(s, i, steps)};
    pass_all(p, t.tile_count, at.groups, beside);
    beside.rest();
  }
};

template <DType D, bool kReady>
void sum_task(const AmxTask& t) {
  const Weights<D, kReady> w{t};
  if (t.tile_count == 1) return few_tokens<D, kReady, 1, 4>(w);
  if (t.tile_count == 2) return few_tokens<D, kReady, 2, 2>(w);
  ManyTokens<D, kReady>{w}.sum();
}

template <DType D>
void sum(const AmxTask& t) {
  if constexpr (D == DType::bf16)
    if (t.k % kAmxStep == 0) return sum_task<D, true>(t);
  sum_task<D, false>(t);
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
    const int64_t ahead = t + 1 < tokens ? stride : 0;  // the next token's inputs are asked for
    for (size_t at = 0; at < bytes; at += kTileBytes) {
      const int64_t i = step_begin * kAmxStep + static_cast<int64_t>(at / kTileBytes) * kAmxStep;
      prefetch(reinterpret_cast<const std::byte*>(row + ahead + i));
      prefetch(reinterpret_cast<const std::byte*>(row + ahead + i + 16));
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
