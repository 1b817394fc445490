// Entry points of the linear kernels, one set per ISA level: plain functions over raw memory.
// A tile is `width` tokens; its activations are packed (pack) so that kernels read them in order:
//   f32   [k][width] f32
//   bf16  [(k+1)/2][width] pairs of bf16
//   int16, int8  per 32 inputs: digits (2, 1) times int32 q[8][width] (4 inputs each), f32
//         scale[width], then per scale of the weight block (1, q6_k 2) and digit a
//         correction[width]: int32 -offset * sum(q); formats with a minimum have f32 scale *
//         sum(x / scale) in the first. An input is scale * (254 * q[first] + q[second]), or scale *
//         q.
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/dtype.h"
#include "ops/activation.h"

namespace tokamak {

enum class LinearMath : uint8_t { f32, bf16, int16, int8 };

// acc[group][width][16] = sums over k inputs of `groups` groups, the first at w, the others
// group_bytes apart; with add these are added to what acc holds. Float weights may be cut into
// stretches of an even number of inputs; block formats are summed over all inputs in one call.
using LinearTileFn = void (*)(const std::byte* w, size_t group_bytes, int64_t groups,
                              const std::byte* x, int64_t k, bool add, float* acc);
// Packs inputs [k_begin, k_end) of `tokens` <= width rows of x (stride floats apart; the others are
// zero) into the tile. k_begin is a multiple of 32.
using LinearPackFn = void (*)(const float* x, int64_t stride, int tokens, int width,
                              int64_t k_begin, int64_t k_end, int64_t k, std::byte* tile);

// y[t][0 … columns) of one group: activation(a + bias_a) [* (b + bias_b)] [+ residual].
struct LinearFinish {
  Activation activation = Activation::none;
  bool glu = false;
  DType bias_dtype = DType::f32;
  const std::byte* bias_a = nullptr;  // of the group's first column; null: none
  const std::byte* bias_b = nullptr;
  const float* residual = nullptr;
  int64_t residual_stride = 0;
  float* out = nullptr;
  int64_t out_stride = 0;
};
using LinearFinishFn = void (*)(const LinearFinish& f, const float* acc_a, const float* acc_b,
                                int tokens, int columns);

inline constexpr int kMaxTileWidth = 24;
inline constexpr int kTileWidths = 6;

struct LinearKernels {
  int widths[kTileWidths] = {};  // ascending; unused: 0
  LinearTileFn tile[kTileWidths] = {};
  LinearPackFn pack = nullptr;
  LinearFinishFn finish = nullptr;
  int block_words = 0;  // int16, int8: 4-byte words per 32 inputs of a token
};

// Null where the level has no kernel for this weight type in this arithmetic.
const LinearKernels* linear_kernels_avx2(DType weight, LinearMath math);
const LinearKernels* linear_kernels_avx512(DType weight, LinearMath math);
const LinearKernels* linear_kernels_avx512_vnni(DType weight, LinearMath math);
const LinearKernels* linear_kernels_avx512_bf16(DType weight, LinearMath math);

}  // namespace tokamak
