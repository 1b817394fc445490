#include "quant/report.h"

#include <fmt/format.h>

namespace tokamak {
namespace {

double megabytes(uint64_t bytes) { return static_cast<double>(bytes) / 1e6; }

}  // namespace

std::string QuantReport::table() const {
  const uint64_t before = quantized_before + kept_bytes, after = quantized_after + kept_bytes;
  std::string s = fmt::format("  {:10} {:>8} {:>12} {:>12}\n", "", "tensors", "before", "after");
  const auto line = [&](const std::string& what, int64_t n, uint64_t from, uint64_t to) {
    s += fmt::format(
        "  {:10} {:>8} {:>9.1f} MB {:>9.1f} MB{}\n", what, n, megabytes(from), megabytes(to),
        from > 0 && to != from
            ? fmt::format("  ({:.2f}x)", static_cast<double>(to) / static_cast<double>(from))
            : "");
  };
  line(format, quantized, quantized_before, quantized_after);
  line("kept", kept, kept_bytes, kept_bytes);
  line("together", quantized + kept, before, after);
  return s;
}

}  // namespace tokamak
