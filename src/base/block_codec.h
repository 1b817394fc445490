// Conversion of rows between float32 and every dtype, block formats included. Portable scalar code:
// the reference for the kernels, and what convert uses.
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/dtype.h"

namespace tokamak {

// n elements (a multiple of the block size; of a per-row format one row) of type `t` at `in` →
// float32 at `out`. `in` needs no alignment.
void dequantize_row(DType t, const std::byte* in, float* out, int64_t n);

// The way back, rounding to nearest; for f32 f16 bf16 f64 f8e4m3 f8_row q4_0 q4_1 q5_0 q5_1 q8_0
// q4_k q6_k and the weight-only formats. Scales come from the extremes, as GGUF's plain encoders
// have them.
void quantize_row(DType t, const float* in, std::byte* out, int64_t n);
bool can_quantize(DType t);

// group_format() and, with them, GGUF's equals in groups of 32: q8_0, q4_0, q4_1.
GroupFormat weight_only_format(DType t);
// For those formats: as quantize_row, but the scale (and minimum) of each 4-bit group is searched
// for the least sum of weights[i] * error². weights: n numbers, or null for all equal.
void quantize_row_best(DType t, const float* in, const float* weights, std::byte* out, int64_t n);

}  // namespace tokamak
