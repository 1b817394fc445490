// "plain": the bytes of the checkpoint, row after row.
#pragma once
#include "backend/backend.h"

namespace tokamak {

class PlainLayout final : public WeightLayout {
 public:
  std::string_view name() const override { return "plain"; }
  bool supports(DType dtype, const Shape& shape) const override;
  size_t packed_bytes(DType dtype, const Shape& shape) const override;
  int64_t row_granularity() const override { return 1; }
  void pack(const TensorView& src, std::byte* dst, int64_t row_begin,
            int64_t row_end) const override;
  void unpack(DType dtype, const Shape& shape, const std::byte* packed,
              std::byte* dst) const override;
};

}  // namespace tokamak
