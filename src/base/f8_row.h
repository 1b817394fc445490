// Rows of f8_row (dtype.h), and plain f8e4m3: what block_codec.h dispatches to.
#pragma once
#include <cstddef>
#include <cstdint>

namespace tokamak {

void dequantize_f8_row(const std::byte* in, float* out, int64_t n);
// The largest magnitude becomes code 448; rows below 1e-30 become zeros.
void quantize_f8_row(const float* in, std::byte* out, int64_t n);

// Codes alone, without a scale.
void dequantize_f8(const std::byte* in, float* out, int64_t n);
void quantize_f8(const float* in, std::byte* out, int64_t n);

}  // namespace tokamak
