// linear and linear_glu of many tokens in one kernel (sm_90): tiles of 128 tokens by 256 outputs,
// or 128 of each of two weights, with all that follows the product before it is stored.
#pragma once
#include <cuda.h>

#include "backend/cuda/kernels/reference.h"

namespace tokamak::cuda {

inline constexpr int kTileBox = 128;        // rows of every map's boxes, which are 128 bytes wide
inline constexpr int kTileStepBytes = 128;  // of a row of k elements

struct TileArg {
  // x [tokens, k] and weights [n, k] in boxes of 128 rows and 128 bytes, with the 128-byte swizzle.
  CUtensorMap x, w, w_b;
  DType dtype = DType::f16;  // of x and the weights: f16, bf16 or f8e4m3
  bool glu = false;          // two weights
  int64_t tokens = 0, n = 0, k = 0;
  const float *row_scales = nullptr, *scales = nullptr, *scales_b = nullptr;  // f8e4m3
  MapKind activation = MapKind::copy;  // with glu also silu, gelu_tanh
  RowsArg bias, residual, y;           // bias: not with glu
  bool vectors = false;                // every one of these has rows at multiples of 16 bytes
  int multiprocessors = 0;
};

void tile_linear_f16(const TileArg& a, cudaStream_t stream);
void tile_linear_bf16(const TileArg& a, cudaStream_t stream);
void tile_linear_f8(const TileArg& a, cudaStream_t stream);
inline void tile_linear(const TileArg& a, cudaStream_t stream) {
  if (a.dtype == DType::f16) return tile_linear_f16(a, stream);
  if (a.dtype == DType::bf16) return tile_linear_bf16(a, stream);
  tile_linear_f8(a, stream);
}

}  // namespace tokamak::cuda
