// An operand as rows of elements, of whatever dtype and row stride.
#pragma once
#include "backend/backend.h"
#include "backend/cpu/element.h"

namespace tokamak {

struct Rows {
  DType dtype;
  std::byte* data;
  int64_t width, row_bytes;

  std::byte* row(int64_t r) const { return data + r * row_bytes; }
  double get(int64_t r, int64_t c) const { return load_element(dtype, row(r), c); }
  void set(int64_t r, int64_t c, double v) const { store_element(dtype, row(r), c, v); }
};

inline int64_t width_of(const ValueType& t) { return t.shape.empty() ? 1 : t.shape.back().size; }

inline int64_t row_count(const ValueType& t, const StepContext& step) {
  int64_t n = 1;
  for (size_t i = 0; i + 1 < t.shape.size(); ++i)
    n *= t.shape[i].resolve(step.tokens, step.logit_rows);
  return n;
}

// Plain dtypes only; weights are dense.
inline Rows rows_view(const ValueType& t, const Operand& o) {
  const int64_t width = width_of(t);
  const int64_t stride = t.is_weight || t.shape.size() < 2 ? width : o.row_stride;
  return {t.dtype, o.data, width, stride * info(t.dtype).block_bytes};
}

// Row of an operand of shape `from` that meets row r of the result: right-aligned, size 1
// stretches.
inline int64_t broadcast_row(const SymShape& from, const SymShape& result, int64_t r,
                             const StepContext& step) {
  int64_t row = 0, stride = 1;
  for (size_t back = 2; back <= result.size(); ++back) {
    const int64_t size = result[result.size() - back].resolve(step.tokens, step.logit_rows);
    if (back <= from.size() && from[from.size() - back] != Dim(1)) {
      row += r % size * stride;
      stride *= size;
    }
    r /= size;
  }
  return row;
}

}  // namespace tokamak
