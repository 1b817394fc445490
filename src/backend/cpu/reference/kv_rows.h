// Rows of the KV cache as doubles: one head of one token, in any dtype that a cache may have.
#pragma once
#include <algorithm>
#include <cmath>

#include "backend/cpu/element.h"

namespace tokamak {

// scale_of_codes: KvLayerView's; 1 for dtypes other than f8e4m3.
inline void load_kv_row(DType t, const std::byte* row, int64_t n, double scale_of_codes,
                        double* out) {
  if (t != DType::int8_row) {
    for (int64_t i = 0; i < n; ++i) out[i] = scale_of_codes * load_element(t, row, i);
    return;
  }
  const double scale = load_element(DType::f16, row, 0);
  for (int64_t i = 0; i < n; ++i) out[i] = scale * load_element(DType::i8, row + 2, i);
}

// int8: the largest magnitude becomes code 127 of the scale as float16 has it.
inline void store_kv_row(DType t, const double* x, int64_t n, double scale_of_codes,
                         std::byte* row) {
  if (t != DType::int8_row) {
    for (int64_t i = 0; i < n; ++i) store_element(t, row, i, x[i] / scale_of_codes);
    return;
  }
  double largest = 0;
  for (int64_t i = 0; i < n; ++i) largest = std::max(largest, std::fabs(x[i]));
  store_element(DType::f16, row, 0, std::min(largest / 127, 65504.0));
  const double scale = load_element(DType::f16, row, 0);
  for (int64_t i = 0; i < n; ++i) {
    const double code = scale > 0 ? std::nearbyint(x[i] / scale) : 0;
    store_element(DType::i8, row + 2, i, std::clamp(code, -127.0, 127.0));
  }
}

}  // namespace tokamak
