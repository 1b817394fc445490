// The two products of an adapter, compiled once per ISA level (lora_rows.h), picked by table.
#pragma once
#include <cstdint>

#include "backend/lora_view.h"

namespace tokamak {

inline constexpr int kLoraTile = 4;  // tokens that read an adapter together

// Up to kLoraTile rows, row_stride apart.
struct LoraRows {
  float* data;
  int64_t row_stride;
};

struct LoraKernels {
  // h[t][r] = scale * (row r of A · x[t]), h [tokens][h_stride].
  void (*shrink)(const LoraPart& part, LoraRows x, int64_t k, int tokens, float* h,
                 int64_t h_stride);
  // out[t][c] = y[t][c] + the sum over r of h[t][r] * B[r][c], columns begin to end of part.n,
  // which begin at a multiple of 32.
  void (*expand)(const LoraPart& part, int64_t n, const float* h, int64_t h_stride, int tokens,
                 LoraRows y, LoraRows out, int64_t begin, int64_t end);
};

const LoraKernels& lora_kernels_avx2();
const LoraKernels& lora_kernels_avx512();

}  // namespace tokamak
