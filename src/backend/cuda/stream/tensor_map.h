// Matrices as the copy engine sees them.
#pragma once
#include <span>

#include "backend/cuda/kernels/tensor_map.h"
#include "base/dtype.h"

namespace tokamak {

// Encodes maps with a function of the driver, found when this is made.
class TensorMaps {
 public:
  TensorMaps();  // Error: the driver has no such function
  // One matrix [n, k] of f16 or bf16 as a tensor [1][1][n][k], or two, `apart` bytes after the
  // first, as [n / 8][2][8][k] (n a multiple of 8), in boxes of 128 rows and 64 columns with the
  // 128-byte swizzle. Addresses and rows are multiples of 16 bytes.
  CUtensorMap rows(const void* data, DType t, int64_t n, int64_t k) const;
  // A matrix [rows, k] of f16, bf16 or u8, rows `stride` elements apart, in boxes of box_rows rows
  // and 128 bytes, alike.
  CUtensorMap boxes(const void* data, DType t, int64_t rows, int64_t k, int64_t stride,
                    int box_rows) const;
  CUtensorMap paired_rows(const void* data, int64_t apart, DType t, int64_t n, int64_t k) const;

 private:
  CUtensorMap encode(const void* data, DType t, std::span<const cuuint64_t> sizes,
                     std::span<const cuuint64_t> strides, std::span<const cuuint32_t> box) const;
  cuda::TensorMapEncoder encode_;
};

}  // namespace tokamak
