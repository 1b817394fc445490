// linear and linear_glu for few tokens, bound by reading the weights: tensor-core products whose
// operands go from memory to registers directly.
#pragma once
#include "backend/cuda/kernels/reference.h"

namespace tokamak::cuda {

inline constexpr int kSkinnyStep = 128;  // k must divide by it

struct SkinnyArg {
  // [tokens, k], [n, k]: f16 or bf16 alike; rows start at multiples of 16 bytes
  const void *x = nullptr, *w = nullptr, *w_b = nullptr;
  int64_t x_stride = 0, n = 0, k = 0, tokens = 0;
  DType dtype = DType::f16;  // of x and the weights
  RowsArg bias, bias_b, residual, y;
  MapKind activation = MapKind::copy;
};
void skinny_linear(const SkinnyArg& a, cudaStream_t stream);

}  // namespace tokamak::cuda
