// linear and linear_glu of FP8 weights (layout cuda.f8) for up to 64 tokens at the memory's speed
// (sm_90): every block of threads owns some rows of the weights whole, so that no sums leave it.
#pragma once
#include <cuda.h>

#include "backend/cuda/kernels/reference.h"

namespace tokamak::cuda {

inline constexpr int kF8StreamTokens = 64;      // at once, where x is in codes
inline constexpr int kF8StreamHalfTokens = 16;  // where it is not
inline constexpr int kF8MaxGroups = 16, kF8WarpGroups = 3;

// How the rows are shared out, in groups of 16 (linear_glu: 8 of each weight).
struct F8StreamShare {
  int groups = 0;  // of all
  int blocks = 0;
  int most = 0;                  // groups of a block; others have one less
  int columns = 0;               // of a unit: 128, or 64 where 128 does not divide k
  int units = 0, box_units = 0;  // of a stage; of a box of weights
};
F8StreamShare f8_stream_share(int multiprocessors, int64_t n, int64_t k, bool glu, bool codes);

struct F8StreamArg {
  // w, w_b as [k / columns][n][columns] codes in boxes of `most` groups' rows, or one group less,
  // and box_units. x in codes likewise, in the layout's order; else as [k / 64][tokens][64]
  // numbers: boxes of f8_stream_box() tokens and a stage's columns. All swizzled over a row of a
  // box.
  CUtensorMap x, w[2], w_b[2];
  const float *scales = nullptr, *scales_b = nullptr;  // [n]
  const float* x_scales = nullptr;                     // [tokens]; null: x is not in codes
  F8StreamShare share;
  DType dtype = DType::f16;  // of x where it is not in codes: f16, bf16
  bool glu = false;
  int64_t n = 0, k = 0;
  int tokens = 0;
  RowsArg bias, bias_b, residual, y;
  MapKind activation = MapKind::copy;
  int stages = 0, ahead = 0;  // of the ring; further ones fetched into the second cache
};
int f8_stream_box(int tokens, bool codes);
// One launch; a.stages and a.ahead are set here.
void f8_stream(const F8StreamArg& a, int ahead_bytes, cudaStream_t stream);
void f8_stream_codes(const F8StreamArg& a, int ahead_bytes, cudaStream_t stream);

}  // namespace tokamak::cuda
