// "cuda.stream": codes of 8 and 4 bits in the order in which tensor cores want them
// (kernels/stream_format.h).
#pragma once
#include <optional>

#include "backend/backend.h"
#include "backend/cuda/kernels/stream_format.h"

namespace tokamak {

// Formats that the layout holds: weight-only int8 and int4, q4_0, q4_1 and q8_0.
std::optional<cuda::StreamFormat> stream_format(DType t);

class StreamLayout final : public WeightLayout {
 public:
  static constexpr std::string_view kName = "cuda.stream";
  std::string_view name() const override { return kName; }
  bool supports(DType dtype, const Shape& shape) const override;
  size_t packed_bytes(DType dtype, const Shape& shape) const override;
  int64_t row_granularity() const override { return cuda::StreamFormat::kRows; }
  void pack(const TensorView& src, std::byte* dst, int64_t row_begin,
            int64_t row_end) const override;
  void unpack(DType dtype, const Shape& shape, const std::byte* packed,
              std::byte* dst) const override;
};

}  // namespace tokamak
