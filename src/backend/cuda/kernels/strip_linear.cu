#include "backend/cuda/kernels/strip_linear.h"

#include <algorithm>

namespace tokamak::cuda {

int strip_box(int tokens) {
  return tokens <= 16 ? 16 : tokens <= 32 ? 32 : tokens <= 64 ? 64 : kStripTokens;
}

StripShare strip_share(int multiprocessors, int64_t n, int weights) {
  StripShare s;
  const int64_t all = n / StripShare::kStep;
  s.blocks = static_cast<int>(std::clamp<int64_t>(all / 2 * 2, 2, multiprocessors / 2 * 2));
  const int64_t at_once = kStripMostRows / weights / StripShare::kStep;
  const int64_t each = (all + s.blocks - 1) / s.blocks;  // steps of a block
  s.count = static_cast<int>(s.blocks * ((each + at_once - 1) / at_once));
  s.most = static_cast<int>((all + s.count - 1) / s.count) * StripShare::kStep;
  s.rows = s.most * weights;
  return s;
}

void strip_linear(const StripArg& a, cudaStream_t stream) {
  if (a.tokens == 0) return;
  if (a.dtype == DType::f16) return strip_linear_f16(a, stream);
  if (a.dtype == DType::bf16) return strip_linear_bf16(a, stream);
  strip_linear_f8(a, stream);
}

}  // namespace tokamak::cuda
