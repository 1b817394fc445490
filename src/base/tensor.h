// TensorView: dtype, shape and a pointer that somebody else owns. Rows (the last dimension) are
// contiguous; block formats divide along the last dimension.
#pragma once
#include <cstddef>

#include "base/dtype.h"
#include "base/shape.h"

namespace tokamak {

struct TensorView {
  DType dtype = DType::f32;
  Shape shape;
  const std::byte* data = nullptr;

  size_t bytes() const { return row_bytes() * static_cast<size_t>(shape.rows()); }
  size_t row_bytes() const {
    return tokamak::row_bytes(dtype, shape.rank() == 0 ? 1 : shape.back());
  }
  const std::byte* row(int64_t i) const { return data + i * row_bytes(); }
  template <typename T>
  const T* as() const {
    return reinterpret_cast<const T*>(data);
  }
};

}  // namespace tokamak
