#include "quant/quantize_rows.h"

#include <cmath>
#include <limits>

#include "base/block_codec.h"
#include "base/error.h"

namespace tokamak {
namespace {

constexpr float kLargestHalf = 65504;

// The largest magnitude whose scale, and minimum, the format holds.
float largest_value(DType t) {
  if (t == DType::f8_row) return std::numeric_limits<float>::max();
  const GroupFormat f = weight_only_format(t);
  return f.has_min ? kLargestHalf : kLargestHalf * (f.bits == 8 ? 127.0f : 7.0f);
}

}  // namespace

void quantize_weight_row(DType t, const float* in, int64_t n, std::byte* out,
                         const std::string& tensor, int64_t row) {
  const float most = largest_value(t);
  for (int64_t i = 0; i < n; ++i)
    if (!(std::abs(in[i]) <= most))
      fail(
          "tensor '{}' holds {} at row {}, column {}, which {} cannot hold; expected numbers up "
          "to {}",
          tensor, in[i], row, i, name(t), most);
  if (t == DType::f8_row)
    quantize_row(t, in, out, n);
  else
    quantize_row_best(t, in, nullptr, out, n);
}

}  // namespace tokamak
