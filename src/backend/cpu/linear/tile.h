// Entry points of the linear kernels, one set per ISA level: plain functions over raw memory.
// A tile is `width` tokens; its activations are packed (pack) so that kernels read them in order:
//   f32   [k][width] f32
//   bf16  [(k+1)/2][width] pairs of bf16
//   int16, int8  per span of blocks (32 inputs) that share an activation scale: per run of blocks
//         that share a weight scale int32 q[blocks][16, 8][width] (2 or 4 inputs each; int16: pairs
//         4j, 4j+2 and 4j+1, 4j+3 in turns) and the run's corrections, int32 [scales of a block: 1
//         or 2][width] -offset * sum(q); formats with a minimum have f32 sum(q) [1 or 2][width]
//         instead; then f32 scale[width]. An input is scale * q.
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/dtype.h"
#include "ops/activation.h"

namespace tokamak {

enum class LinearMath : uint8_t { f32, bf16, int16, int8 };

// What the kernels need to know of a weight, beside its bytes.
struct LinearWeights {
  int64_t k = 0;
  size_t group_bytes = 0;
  size_t scale_bytes = 0;  // block formats: of a group's scale section
  int record_bytes = 0;    // from one run's scale record to the next one's; 0: one for all
  int run = 1, span = 1;   // blocks of 32 inputs: span a multiple of run, at most 8
  bool ahead_near = true;  // weights are asked for into the first cache; else the second
};

// acc[group][width][16] = sums over inputs [k_begin, k_end) of `groups` groups, the first at w; x
// is the whole tile. k_begin > 0 (a multiple of 256): these are added to what acc holds. `next` is
// read after these weights: narrow tiles ask for it towards the end.
using LinearTileFn = void (*)(const LinearWeights& m, const std::byte* w, int64_t groups,
                              const std::byte* next, const std::byte* x, int64_t k_begin,
                              int64_t k_end, float* acc);
// Packs inputs [k_begin, k_end) of `tokens` <= width rows of x (stride floats apart; the others are
// zero) into the tile. k_begin is a multiple of 256.
using LinearPackFn = void (*)(const LinearWeights& m, const float* x, int64_t stride, int tokens,
                              int width, int64_t k_begin, int64_t k_end, std::byte* tile);

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

inline constexpr int kMaxTileWidth = 8;
inline constexpr int kTileWidths = 4;

struct LinearKernels {
  int widths[kTileWidths] = {};  // ascending; unused: 0
  LinearTileFn tile[kTileWidths] = {};
  // Instead of the first ones where a token's sums must not depend on the width; null: they do not.
  LinearTileFn ordered[2] = {};
  LinearPackFn pack = nullptr;
  LinearFinishFn finish = nullptr;
  // int16, int8: 4-byte words of a token's first `blocks` blocks.
  int64_t (*words)(const LinearWeights& m, int64_t blocks) = nullptr;
};

// Null where the level has no kernel for this weight type in this arithmetic.
const LinearKernels* linear_kernels_avx2(DType weight, LinearMath math);
const LinearKernels* linear_kernels_avx512(DType weight, LinearMath math);
const LinearKernels* linear_kernels_avx512_vnni(DType weight, LinearMath math);
const LinearKernels* linear_kernels_avx512_bf16(DType weight, LinearMath math);

}  // namespace tokamak
