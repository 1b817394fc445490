// "cuda.f8": FP8 weights as kernels/f8_format.h has them.
#pragma once
#include "backend/backend.h"

namespace tokamak {

inline constexpr std::string_view kF8Layout = "cuda.f8";

class F8Layout final : public WeightLayout {
 public:
  std::string_view name() const override { return kF8Layout; }
  bool supports(DType dtype, const Shape& shape) const override;
  size_t packed_bytes(DType dtype, const Shape& shape) const override;
  int64_t row_granularity() const override { return 1; }
  void pack(const TensorView& src, std::byte* dst, int64_t row_begin,
            int64_t row_end) const override;
  void unpack(DType dtype, const Shape& shape, const std::byte* packed,
              std::byte* dst) const override;
};

}  // namespace tokamak
