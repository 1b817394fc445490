#include "host_lora.h"

#include <algorithm>

#include "backend/cpu/element.h"

namespace tokamak::test {
namespace {

// [rank][width], and the same padded.
std::vector<double> matrix(DType t, int64_t rank, int64_t width, Rng& rng,
                           std::vector<std::byte>& rows) {
  const int64_t stride = lora_padded(width);
  const auto size = static_cast<int64_t>(row_bytes(t, 1));
  rows.assign(static_cast<size_t>(rank * stride * size), std::byte{0});
  std::vector<double> values;
  std::normal_distribution<double> normal(0, 1);
  for (int64_t r = 0; r < rank; ++r)
    for (int64_t i = 0; i < width; ++i) {
      values.push_back(round_to(t, normal(rng)));
      store_element(t, rows.data() + r * stride * size, i, values.back());
    }
  return values;
}

}  // namespace

HostLora random_lora(const OpSignature& s, const std::vector<int32_t>& query_begin, Rng& rng) {
  const LoraAttrs attrs = LoraAttrs::from(s.attrs);
  HostLora lora;
  lora.part_count = *std::ranges::max_element(attrs.parts) + 2;
  constexpr int kAdapters = 4;
  constexpr DType kTypes[] = {DType::f32, DType::f16, DType::bf16, DType::f32};
  for (int adapter = 0; adapter < kAdapters; ++adapter)
    for (int64_t p = 0; p < lora.part_count; ++p) {
      HostLora::Part part;
      const auto at = std::ranges::find(attrs.parts, p);
      if (at != attrs.parts.end() && !(adapter == 2 && at == attrs.parts.begin())) {
        const int64_t n = attrs.widths[static_cast<size_t>(at - attrs.parts.begin())];
        part.rank = std::max<int64_t>(1, attrs.max_rank - 3 * adapter);
        part.scale = 0.5 * (adapter + 1);
        part.dtype = kTypes[adapter];
        part.a = matrix(part.dtype, part.rank, s.inputs[0].shape.back().size, rng, part.a_rows);
        part.b = matrix(part.dtype, part.rank, n, rng, part.b_rows);
      }
      lora.parts.push_back(std::move(part));
    }
  for (size_t q = 0; q + 1 < query_begin.size(); ++q) {
    const auto adapter =
        static_cast<int32_t>((6 * q + static_cast<size_t>(query_begin.back())) % (kAdapters + 1)) -
        1;
    lora.adapters.insert(lora.adapters.end(),
                         static_cast<size_t>(query_begin[q + 1] - query_begin[q]), adapter);
  }
  return lora;
}

}  // namespace tokamak::test
