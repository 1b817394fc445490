// linear and linear_glu for a few tokens (sm_90): every block of threads owns some rows of the
// weights whole, so that no sums leave it.
#pragma once
#include "backend/cuda/kernels/reference.h"
#include "backend/cuda/kernels/stream_format.h"

namespace tokamak::cuda {

// Weights: codes of 4 or 8 bits in the layout "cuda.stream" without minima, FP8 in "cuda.f8", or
// plain rows of x's dtype.
enum class RowsWeights { codes, f8, plain };

struct RowsLinearArg {
  RowsWeights weights = RowsWeights::codes;
  const uint8_t *w = nullptr, *w_b = nullptr;  // w_b: linear_glu
  StreamFormat format;                         // of codes
  DType dtype = DType::f16;                    // of x: f16 or bf16
  int64_t n = 0, k = 0;
  int tokens = 0;
  RowsArg x, bias, bias_b, residual, y;  // rows of x at multiples of 16 bytes
  MapKind activation = MapKind::copy;
};

// Tokens for which a launch has room; 0: such weights are not taken.
int rows_linear_tokens(RowsWeights weights, const StreamFormat& f, int64_t n, int64_t k, bool glu,
                       int multiprocessors);
void rows_linear(const RowsLinearArg& a, int multiprocessors, cudaStream_t stream);

}  // namespace tokamak::cuda
