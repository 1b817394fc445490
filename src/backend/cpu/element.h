// Single elements and rows of any dtype, as floats: for reference kernels and for set-up work.
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/dtype.h"

namespace tokamak {

// f32, f16, bf16: what activations are made of.
inline bool is_activation_dtype(DType t) {
  return t == DType::f32 || t == DType::f16 || t == DType::bf16;
}
// Everything that ops compute with: all but block formats and 8-bit floats. load_element and
// store_element know f8e4m3, too.
bool is_scalar_dtype(DType t);

double load_element(DType t, const std::byte* row, int64_t i);
void store_element(DType t, std::byte* row, int64_t i, double value);

// Elements [0, n) of a row of any dtype; block formats are decoded (n whole blocks).
void load_row(DType t, const std::byte* row, int64_t n, float* out);

}  // namespace tokamak
