// Sums of products of int8 tiles, for weights in groups of 64 inputs or more and activations
// rounded to one int8 digit with a scale per group (per row: per 128 inputs). A step is 64 inputs,
// whose codes lie in rows16 as a tile; 4-bit codes are unpacked. The integer sums of a group leave
// their tile while the next ones are computed, and become float32 one group later: a tile register
// waits long for its products, and memory for the tile. Layouts: amx_int8_linear.h.
#pragma once
#include "backend/cpu/amx/tiles_int8.h"
#include "backend/cpu/linear/amx_int8_linear.h"
#include "backend/cpu/linear/finish.h"
#include "backend/cpu/linear/float_tile.h"
#include "backend/cpu/linear/weight_codes.h"

namespace tokamak {
namespace {

constexpr int kPlaces = 4;  // in rings of tiles

// Steps that share a scale.
template <DType D>
constexpr int kRunSteps = rows16_format(D).scale_inputs == 64 ? 1 : 2;
template <DType D>
constexpr bool kOneScale = rows16_format(D).scale_inputs == 0;
template <DType D>
constexpr bool kFourBits = rows16_format(D).data_bytes == 256;
template <DType D>
constexpr bool kHasMin = rows16_format(D).scale_bytes == 64;

// A step's tile row by row: low halves of the bytes are inputs 0 … 15 of 32, high ones 16 … 31.
template <DType D>
TOKAMAK_INLINE void unpack_step(const std::byte* codes, std::byte* out) {
  const __m512i low = _mm512_set1_epi8(15), eight = _mm512_set1_epi8(kHasMin<D> ? 0 : 8);
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    const __m512i v = _mm512_loadu_si512(codes + 64 * i);
    std::byte* to = out + i / 4 * 512 + i % 4 * 64;
    const __m512i a = _mm512_and_si512(v, low);
    const __m512i b = _mm512_and_si512(_mm512_srli_epi32(v, 4), low);
    _mm512_store_si512(to, kHasMin<D> ? a : _mm512_sub_epi8(a, eight));
    _mm512_store_si512(to + 256, kHasMin<D> ? b : _mm512_sub_epi8(b, eight));
  }
}

// One group of outputs by one token tile.
template <DType D>
struct Int8Group {
  static constexpr size_t kStepBytes = kFourBits<D> ? 512 : 1024;
  const std::byte *scales, *codes, *x;
  std::byte* scratch;  // kPlaces sums, then kPlaces unpacked steps
  int64_t steps;
  bool ahead;  // the codes come from memory, not from a cache
  const int64_t runs = (steps + kRunSteps<D> - 1) / kRunSteps<D>;

  std::byte* sums_of(int64_t run) const {
    return scratch + static_cast<size_t>(run % kPlaces) * tiles::kTileBytes;
  }
  std::byte* unpacked(int64_t step) const {
    return scratch + static_cast<size_t>(kPlaces + step % kPlaces) * tiles::kTileBytes;
  }
  TOKAMAK_INLINE void unpack(int64_t step) const {
    if (step < steps)
      unpack_step<D>(codes + static_cast<size_t>(step) * kStepBytes, unpacked(step));
  }
  template <int kSum>
  TOKAMAK_INLINE void add_run(int64_t run) const {
    tiles::zero<kSum>();
    for (int64_t s = run * kRunSteps<D>; s < least_of((run + 1) * kRunSteps<D>, steps); ++s) {
      const std::byte* w = codes + static_cast<size_t>(s) * kStepBytes;
      if (ahead)
        for (size_t line = 0; line < kStepBytes; line += 64) prefetch(w + kPrefetchBytes + line);
      if constexpr (kFourBits<D>) {
        unpack(s + 2);
        w = unpacked(s);
      }
      tiles::load<2>(x + static_cast<size_t>(s) * kAmxInt8StepBytes);
      tiles::load<3>(w);
      tiles::dot_i8<kSum, 2, 3>();
    }
  }
  static int64_t least_of(int64_t a, int64_t b) { return a < b ? a : b; }

  TOKAMAK_INLINE void add_scaled(F16x (&f)[kAmxTokens], int64_t run) const {
    const int64_t last = least_of((run + 1) * kRunSteps<D>, steps) - 1;
    const auto* of = reinterpret_cast<const float*>(
        x + static_cast<size_t>(last) * kAmxInt8StepBytes + tiles::kTileBytes);
    const std::byte* record = scales + (kOneScale<D> ? 0 : run * rows16_format(D).scale_bytes);
    const auto* sums = reinterpret_cast<const __m512i*>(sums_of(run));
    const F16x d = simd::load_f16(record);
#pragma GCC unroll 16
    for (int t = 0; t < kAmxTokens; ++t) {
      F16x v = {_mm512_cvtepi32_ps(_mm512_load_si512(sums + t))};
      if (!kOneScale<D>) v = simd::mul(v, d);
      f[t] = simd::fma(v, simd::set1(of[t]), f[t]);
    }
    if (!kHasMin<D> || kOneScale<D>) return;
    const F16x m = simd::load_f16(record + 32);
#pragma GCC unroll 16
    for (int t = 0; t < kAmxTokens; ++t) f[t] = simd::fma(m, simd::set1(of[kAmxTokens + t]), f[t]);
  }
  // Run `run` is multiplied, the one before stored, the one before that scaled.
  template <int kSum>
  TOKAMAK_INLINE void pass(F16x (&f)[kAmxTokens], int64_t run) const {
    if (run < runs) add_run<kSum>(run);
    if (run >= 1 && run <= runs) tiles::store<1 - kSum>(sums_of(run - 1));
    if (run >= 2 && run < runs + 2) add_scaled(f, run - 2);
  }
  TOKAMAK_INLINE void sum(float* out) const {
    if constexpr (kFourBits<D>) unpack(0), unpack(1);
    F16x f[kAmxTokens];
#pragma GCC unroll 16
    for (F16x& v : f) v = simd::zero();
    for (int64_t run = 0; run < runs + 2; run += 2) {
      pass<0>(f, run);
      pass<1>(f, run + 1);
    }
    if constexpr (kOneScale<D>) finish_row_scale(f);
#pragma GCC unroll 16
    for (int t = 0; t < kAmxTokens; ++t) simd::store(out + t * 16, f[t]);
  }
  // One scale, and minimum, for all inputs: the sums of the activations are added up over the runs.
  TOKAMAK_INLINE void finish_row_scale(F16x (&f)[kAmxTokens]) const {
    const F16x d = simd::load_f16(scales);
#pragma GCC unroll 16
    for (F16x& v : f) v = simd::mul(v, d);
    if (!kHasMin<D>) return;
    F16x all = simd::zero();
    for (int64_t run = 0; run < runs; ++run) {
      const int64_t last = least_of((run + 1) * kRunSteps<D>, steps) - 1;
      all = simd::add(all, simd::load(reinterpret_cast<const float*>(
                                          x + static_cast<size_t>(last) * kAmxInt8StepBytes +
                                          tiles::kTileBytes) +
                                      kAmxTokens));
    }
    alignas(64) float of[kAmxTokens];
    simd::store(of, all);
    const F16x m = simd::load_f16(scales + 32);
#pragma GCC unroll 16
    for (int t = 0; t < kAmxTokens; ++t) f[t] = simd::fma(m, simd::set1(of[t]), f[t]);
  }
};

template <DType D>
void sum_int8(const AmxTask& t) {
  const int64_t steps = t.k / kAmxInt8Step;
  for (int weight = 0; weight < t.weights; ++weight)
    for (int64_t g = 0; g < t.groups; ++g) {
      const std::byte* w = t.weight[weight] + static_cast<size_t>(g) * t.group_bytes;
      for (int64_t tile = 0; tile < t.tile_count; ++tile) {
        const std::byte* x =
            t.x + static_cast<size_t>((t.tile_begin + tile) * steps) * kAmxInt8StepBytes;
        const Int8Group<D> group{w, w + rows16_scales(D, t.k), x, t.panel, steps, tile == 0};
        group.sum(t.sums + ((weight * t.groups + g) * t.tile_count + tile) * 256);
      }
    }
}

// One token's run of n steps: its digits, and behind the last of them scale and sum.
TOKAMAK_INLINE void quantize_run(const float* x, int64_t n, int token, std::byte* out) {
  F16x largest = simd::zero(), total = simd::zero();
  for (int64_t i = 0; i < n * kAmxInt8Step; i += 16) {
    const F16x v = simd::load(x + i);
    largest = simd::max(largest, simd::abs(v));
    total = simd::add(total, v);
  }
  const float top = simd::max_of(largest);
  const bool nan = simd::any_nan(total);  // one bad input shows in every sum
  const F16x inverse = simd::set1(top > 0 ? 127 / top : 0.0f);
  simd::I16x sum = simd::izero();
  for (int64_t s = 0; s < n; ++s, out += kAmxInt8StepBytes)
    for (int i = 0; i < kAmxInt8Step; i += 16, x += 16) {
      const simd::I16x digit = simd::to_int(simd::mul(simd::load(x), inverse));
      simd::store_i8(reinterpret_cast<int8_t*>(out) + token * tiles::kTileRow + i, digit);
      sum = simd::iadd(sum, digit);
    }
  auto* of = reinterpret_cast<float*>(out - kAmxInt8StepBytes + tiles::kTileBytes);
  const float scale = nan ? __builtin_nanf("") : top / 127;
  of[token] = scale;
  of[kAmxTokens + token] = scale * static_cast<float>(simd::isum(sum));
}

template <int kRun>
void pack_int8(const float* x, int64_t stride, int tokens, int64_t, int64_t step_begin,
               int64_t step_end, std::byte* out) {
  const auto bytes = static_cast<size_t>(step_end - step_begin) * kAmxInt8StepBytes;
  if (tokens < kAmxTokens) __builtin_memset(out, 0, bytes);
  for (int t = 0; t < tokens; ++t)
    for (int64_t s = step_begin; s < step_end; s += kRun) {
      const int64_t n = step_end - s < kRun ? step_end - s : kRun;
      quantize_run(x + t * stride + s * kAmxInt8Step, n, t,
                   out + static_cast<size_t>(s - step_begin) * kAmxInt8StepBytes);
    }
}

void configure_int8() { tiles::configure(); }
void release_int8() { tiles::release(); }

template <DType D>
const AmxLinearKernels* int8_table() {
  static constexpr AmxLinearKernels kTable = {configure_int8, release_int8, pack_int8<kRunSteps<D>>,
                                              sum_int8<D>, finish};
  return &kTable;
}

const AmxLinearKernels* int8_kernels_for(DType weight) {
  switch (weight) {
#define TOKAMAK_CASE(t) \
  case DType::t:        \
    return int8_table<DType::t>();
    TOKAMAK_CASE(int8_g64)
    TOKAMAK_CASE(int8_g128)
    TOKAMAK_CASE(int8_row)
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
