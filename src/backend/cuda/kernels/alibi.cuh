// ALiBi's slope of a head, as ops/attention.h has it. row: AttentionArg::alibi.
#pragma once

namespace tokamak::cuda {

__device__ inline float alibi_slope(int row, int head) {
  const float n = static_cast<float>(row);
  const float h = static_cast<float>(head);
  return exp2f(head < row ? -8 * (h + 1) / n : -4 * (2 * (h - n) + 1) / n);
}

}  // namespace tokamak::cuda
