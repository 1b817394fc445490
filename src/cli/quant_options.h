// Flags of weight-only quantization that `quantize` and `convert` share, and what they print.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "quant/recipe.h"
#include "quant/report.h"

namespace CLI {
class App;
}

namespace tokamak::cli {

struct QuantOptions {
  std::optional<int64_t> group_size;
  bool has_zero_point = false, quantize_lm_head = false, quantize_embedding = false;
  std::vector<std::string> exclude_modules;
  QuantRecipe recipe(const std::string& qformat) const;  // Error names the flag
  bool any() const;                                      // one of the flags was given
};
void add_quant_options(CLI::App& app, QuantOptions& options);

// The notices to the log, the table to stdout.
void print_quant_report(const QuantReport& report);

}  // namespace tokamak::cli
