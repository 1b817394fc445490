// The weight layout "rows16" (geometry: rows16.h) of [n, k] weights, float or block format.
#pragma once
#include "backend/backend.h"

namespace tokamak {

inline constexpr std::string_view kRows16 = "rows16";

class Rows16Layout final : public WeightLayout {
 public:
  std::string_view name() const override { return kRows16; }
  bool supports(DType dtype, const Shape& shape) const override;
  size_t packed_bytes(DType dtype, const Shape& shape) const override;
  int64_t row_granularity() const override { return 16; }
  void pack(const TensorView& src, std::byte* dst, int64_t row_begin,
            int64_t row_end) const override;
  void unpack(DType dtype, const Shape& shape, const std::byte* packed,
              std::byte* dst) const override;
};

// One row of a packed weight with k inputs, as the checkpoint has it.
void unpack_rows16_row(DType dtype, const std::byte* packed, int64_t k, int64_t row,
                       std::byte* out);

}  // namespace tokamak
