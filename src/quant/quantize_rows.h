// Rows of float32 into a weight-only format or f8_row, after a check that they can be held.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

#include "base/dtype.h"

namespace tokamak {

// One row of n elements; 4-bit scales are searched. Error for NaN, infinity and values that
// the scales do not reach: names the tensor, the place and the value.
void quantize_weight_row(DType t, const float* in, int64_t n, std::byte* out,
                         const std::string& tensor, int64_t row);

}  // namespace tokamak
