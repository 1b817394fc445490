#include "backend/plain_layout.h"

#include <cstring>

namespace tokamak {

bool PlainLayout::supports(DType dtype, const Shape& shape) const {
  return shape.rank() == 0 || fits_row(dtype, shape.back());
}

size_t PlainLayout::packed_bytes(DType dtype, const Shape& shape) const {
  return TensorView{dtype, shape, nullptr}.bytes();
}

void PlainLayout::pack(const TensorView& src, std::byte* dst, int64_t row_begin,
                       int64_t row_end) const {
  const size_t row = src.shape.rank() == 0 ? src.bytes() : src.row_bytes();
  TOKAMAK_ASSERT(0 <= row_begin && row_begin <= row_end && row_end <= src.shape.rows());
  const size_t begin = row * static_cast<size_t>(row_begin);
  std::memcpy(dst + begin, src.data + begin, row * static_cast<size_t>(row_end - row_begin));
}

void PlainLayout::unpack(DType dtype, const Shape& shape, const std::byte* packed,
                         std::byte* dst) const {
  std::memcpy(dst, packed, packed_bytes(dtype, shape));
}

}  // namespace tokamak
