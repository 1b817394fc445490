// linear and linear_glu of up to 128 tokens at the memory's speed (sm_90): every block of threads
// owns strips of rows of the weights whole, so that no sums leave it; two blocks share the tokens.
#pragma once
#include <cuda.h>

#include "backend/cuda/kernels/reference.h"

namespace tokamak::cuda {

inline constexpr int kStripTokens = 128;     // at once
inline constexpr int kStripUnitBytes = 128;  // of a row of k elements
inline constexpr int kStripMostRows = 248;   // of weights, at once: what shared memory takes

// How the outputs are shared out: `count` strips of `most` outputs, or kStep less; a block has as
// many strips as another, one after another.
struct StripShare {
  static constexpr int kStep = 8;
  int blocks = 0, count = 0, most = 0;
  int rows = 0;  // of weights in the products
};
StripShare strip_share(int multiprocessors, int64_t n, int weights);
int strip_box(int tokens);  // the least that takes them: 16, 32, 64 or 128
// Units of a stage: copies of small boxes follow one another too slowly.
constexpr int strip_units(int rows, int box) {
  return box > 64 || rows > 64 ? 1 : rows > 32 ? 2 : 4;
}

struct StripArg {
  // w, w_b and x as [k / unit][rows][unit] with the 128-byte swizzle: weights in boxes of
  // `share.most` rows, or kStep less, and `units` units (two weights: one); x in boxes of half a
  // stage: half of its units, or of the tokens where it has only one.
  CUtensorMap x, w[2], w_b[2];
  StripShare share;
  DType dtype = DType::f16;            // of x and the weights: f16, bf16 or f8e4m3
  int weights = 1;                     // 2: linear_glu
  int64_t n = 0, k = 0;                // multiples of 8, and of a unit's elements
  int tokens = 0, box = 0, units = 0;  // strip_box(), …
  const float *row_scales = nullptr, *scales = nullptr, *scales_b = nullptr;  // f8e4m3
  MapKind activation = MapKind::copy;                                         // or silu, gelu_tanh
  RowsArg bias, bias_b, residual, y;
  bool vectors = false;  // every one of these has rows at multiples of 16 bytes
  int stages = 0;        // of the ring; set by strip_linear()
};

void strip_linear(const StripArg& a, cudaStream_t stream);
void strip_linear_f16(const StripArg& a, cudaStream_t stream);
void strip_linear_bf16(const StripArg& a, cudaStream_t stream);
void strip_linear_f8(const StripArg& a, cudaStream_t stream);

}  // namespace tokamak::cuda
