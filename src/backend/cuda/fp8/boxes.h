// Matrices in units of columns as the copy engine takes them for kernels/f8_stream.h.
#pragma once
#include "backend/cuda/kernels/tensor_map.h"
#include "base/dtype.h"

namespace tokamak {

class BoxMaps {
 public:
  BoxMaps();  // Error: the driver cannot make maps
  // [rows, width] of f16, bf16 or codes (u8), `stride` elements from row to row, as units of
  // `columns` columns: boxes of box_rows rows and box_units units, swizzled over a row of a box (64
  // or 128 bytes). `columns` divides the width; data and rows lie at multiples of 16 bytes.
  CUtensorMap units(const void* data, DType t, int64_t rows, int64_t width, int64_t stride,
                    int columns, int box_rows, int box_units) const;

 private:
  cuda::TensorMapEncoder encode_;
};

}  // namespace tokamak
