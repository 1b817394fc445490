// bf16 weights times activations rounded to bf16: pairs of products summed into float32.
#include "backend/cpu/linear/finish.h"
#include "backend/cpu/linear/float_tile.h"

namespace tokamak {
namespace {

template <int W>
TOKAMAK_INLINE void multiply_pairs(F16x (&s)[W], const std::byte* w, const int32_t* x) {
  const auto wv = (__m512bh)_mm512_loadu_si512(w);
#pragma GCC unroll 32
  for (int t = 0; t < W; ++t)
    s[t].v = _mm512_dpbf16_ps(s[t].v, wv, (__m512bh)_mm512_set1_epi32(x[t]));
}

template <int S, int W, int U>
TOKAMAK_INLINE void pairs_groups(const LinearWeights& m, const std::byte* w, const std::byte* next,
                                 const int32_t* x, int64_t k_begin, int64_t k_end, float* acc) {
  const int64_t pairs = (k_end + 1) / 2;
  F16x sums[S][U][W];
  start_sums<S, W, U>(sums, k_begin > 0, acc);
  SideAhead<S> ahead(m, w, static_cast<size_t>(k_begin) * 32, next);
  const std::byte* p = w + k_begin * 32;
  int64_t i = k_begin / 2;
  for (; i + U <= pairs; i += U, x += U * W, p += U * 64) {
    if constexpr (W <= 4) ahead.advance(U * 64);
#pragma GCC unroll 4
    for (int u = 0; u < U; ++u)
#pragma GCC unroll 4
      for (int s = 0; s < S; ++s)
        multiply_pairs<W>(sums[s][u], p + s * m.group_bytes + u * 64, x + u * W);
  }
  for (; i < pairs; ++i, x += W, p += 64)
#pragma GCC unroll 4
    for (int s = 0; s < S; ++s) multiply_pairs<W>(sums[s][0], p + s * m.group_bytes, x);
  store_sums<S, W, U>(sums, acc);
}

template <int W, int U>
void pairs_tile(const LinearWeights& m, const std::byte* w, int64_t groups, const std::byte* next,
                const std::byte* x, int64_t k_begin, int64_t k_end, float* acc) {
  const auto* first = reinterpret_cast<const int32_t*>(x) + k_begin / 2 * W;
  side_by_side<kSide<W>>(m, w, groups, next, [&]<int S>(const std::byte* p, const std::byte* then) {
    pairs_groups<S, W, U>(m, p, then, first, k_begin, k_end, acc);
    acc += S * W * 16;
  });
}

// Pairs of inputs as bf16, [pair][width].
void pack_pairs(const LinearWeights&, const float* x, int64_t stride, int tokens, int width,
                int64_t k_begin, int64_t k_end, std::byte* tile) {
  auto* out = reinterpret_cast<int32_t*>(tile);
  for (int t = 0; t < width; ++t) {
    const float* row = x + t * stride;
    int64_t i = k_begin;
    for (; i < k_end; i += 32) {
      const int n = static_cast<int>(k_end - i < 32 ? k_end - i : 32);
      alignas(64) int32_t pairs[16] = {};
      if (t < tokens) {
        const F16x lo = simd::load_n(row + i, n < 16 ? n : 16);
        const F16x hi = n > 16 ? simd::load_n(row + i + 16, n - 16) : simd::zero();
        _mm512_store_si512(pairs, (__m512i)_mm512_cvtne2ps_pbh(hi.v, lo.v));
      }
      for (int j = 0; j < (n + 1) / 2; ++j) out[(i / 2 + j) * width + t] = pairs[j];
    }
  }
}

constexpr LinearKernels kPairs = {
    {1, 2, 4, 8},
    {pairs_tile<1, kSums<1>>, pairs_tile<2, kSums<2>>, pairs_tile<4, 1>, pairs_tile<8, 1>},
    {pairs_tile<1, 1>, pairs_tile<2, 1>},
    pack_pairs,
    finish};

}  // namespace

const LinearKernels* linear_kernels_avx512_bf16(DType weight, LinearMath math) {
  return weight == DType::bf16 && math == LinearMath::bf16 ? &kPairs : nullptr;
}

}  // namespace tokamak
