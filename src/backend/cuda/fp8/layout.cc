#include "backend/cuda/fp8/layout.h"

#include <cstring>

#include "backend/cuda/kernels/f8_format.h"

namespace tokamak {
namespace {

using cuda::F8Format;

// Pairs of neighbouring columns stay together.
void reorder(const std::byte* row, int64_t k, std::byte* out) {
  for (int64_t i = 0; i < k; i += F8Format::kColumns)
    for (int c = 0; c < F8Format::kColumns; c += 2)
      std::memcpy(out + i + F8Format::place_of(c), row + i + c, 2);
}
void restore(const std::byte* packed, int64_t k, std::byte* row) {
  for (int64_t i = 0; i < k; i += F8Format::kColumns)
    for (int c = 0; c < F8Format::kColumns; c += 2)
      std::memcpy(row + i + c, packed + i + F8Format::place_of(c), 2);
}

}  // namespace

bool F8Layout::supports(DType dtype, const Shape& shape) const {
  return dtype == DType::f8_row && shape.rank() == 2 && shape[0] > 0 && shape[1] > 0 &&
         shape[1] % F8Format::kColumns == 0;
}

size_t F8Layout::packed_bytes(DType, const Shape& shape) const {
  return F8Format::bytes(shape[0], shape[1]);
}

void F8Layout::pack(const TensorView& src, std::byte* dst, int64_t row_begin,
                    int64_t row_end) const {
  const int64_t n = src.shape[0], k = src.shape[1];
  const size_t codes = static_cast<size_t>(n * k), scales = F8Format::scales_at(n, k);
  if (row_end == n) std::memset(dst + codes, 0, scales - codes);
  for (int64_t r = row_begin; r < row_end; ++r) {
    const std::byte* row = src.row(r);
    std::memcpy(dst + scales + static_cast<size_t>(r) * sizeof(float), row, sizeof(float));
    reorder(row + sizeof(float), k, dst + r * k);
  }
}

void F8Layout::unpack(DType dtype, const Shape& shape, const std::byte* packed,
                      std::byte* dst) const {
  const int64_t n = shape[0], k = shape[1];
  const size_t scales = F8Format::scales_at(n, k), row_bytes = tokamak::row_bytes(dtype, k);
  for (int64_t r = 0; r < n; ++r) {
    std::byte* row = dst + static_cast<size_t>(r) * row_bytes;
    std::memcpy(row, packed + scales + static_cast<size_t>(r) * sizeof(float), sizeof(float));
    restore(packed + r * k, k, row + sizeof(float));
  }
}

}  // namespace tokamak
