// linear and linear_glu of FP8 weights (layout cuda.f8) for up to 64 tokens at the memory's speed
// (sm_90): every block of threads owns some rows of the weights whole, so that no sums leave it.
#pragma once
#include <cuda.h>

#include "backend/cuda/kernels/reference.h"

namespace tokamak::cuda {

inline constexpr int kF8StreamTokens = 64;  // at once; 16 where x is not in codes
inline constexpr int kF8StreamHalfTokens = 16;

// How the rows are shared out, in groups of 16 (linear_glu: 8 of each weight).
struct F8StreamShare {
  int groups = 0;  // of all
  int blocks = 0;
  int most = 0;       // groups of a block; others have one less
  int row_warps = 1;  // of 8 warps; the rest share out the columns
};
F8StreamShare f8_stream_share(int multiprocessors, int64_t n, bool glu, int tokens);

struct F8StreamArg {
  // Boxes of 64 columns in the layout's order. x as [k / 64][tokens][64]: boxes of 8, 16, 32 or 64
  // tokens (f8_stream_box()) and 8 / row_warps times 64 columns, swizzled over a row of a box.
  // w, w_b as [k / 64][n][64] codes: of `most` groups' rows, or one group less, swizzled likewise.
  alignas(64) CUtensorMap x, w[2], w_b[2];
  const float *scales = nullptr, *scales_b = nullptr;  // [n]
  const float* x_scales = nullptr;                     // [tokens]; null: x is not in codes
  F8StreamShare share;
  DType dtype = DType::f16;  // of x where it is not in codes
  bool glu = false;
  int64_t n = 0, k = 0;
  int tokens = 0;
  RowsArg bias, bias_b, residual, y;
  MapKind activation = MapKind::copy;
  int stages = 0, ahead = 0;  // of the ring; further ones fetched into the second cache
};
int f8_stream_box(int tokens);
// One launch; a.stages and a.ahead are set here.
void f8_stream(F8StreamArg a, int ahead_bytes, cudaStream_t stream);

}  // namespace tokamak::cuda
