// The weight-only formats of dtype.h, a row at a time, and the search for their scales. What
// block_codec.h dispatches to.
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/dtype.h"

namespace tokamak {

// n elements: whole groups; for per-row formats exactly one row.
void dequantize_groups(DType t, const std::byte* in, float* out, int64_t n);
// Scales from the largest magnitude (or the range), codes rounded to nearest.
void quantize_groups(DType t, const float* in, std::byte* out, int64_t n);

// The scale and minimum of one group and, given them, the codes. Levels are low … high; a value
// reads as scale * level + minimum, both as float16 holds them.
struct GroupScale {
  float scale = 0, minimum = 0;
};
// From the extremes alone.
GroupScale plain_scale(const float* x, int64_t n, int bits, bool has_min);
// The least sum of weights[i] * error² that a search around the plain scale finds, never worse than
// the plain one. weights null: all equal.
GroupScale best_scale(const float* x, const float* weights, int64_t n, int bits, bool has_min);
// Levels from 0: symmetric 8 bits has 0 … 254 around 127, 4 bits 0 … 15 around 8.
void group_levels(const float* x, int64_t n, int bits, bool has_min, GroupScale s, uint8_t* levels);

}  // namespace tokamak
