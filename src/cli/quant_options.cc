#include "cli/quant_options.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "base/error.h"
#include "base/log.h"

namespace tokamak::cli {

QuantRecipe QuantOptions::recipe(const std::string& qformat) const {
  QuantRecipe r = make_recipe(qformat, group_size);
  if (r.fp8 && has_zero_point) fail("--has_zero_point goes with int8_wo and int4_wo, not with fp8");
  r.has_zero_point = has_zero_point;
  r.exclude_modules = exclude_modules;
  r.quantize_lm_head = quantize_lm_head;
  r.quantize_embedding = quantize_embedding;
  return r;
}

bool QuantOptions::any() const {
  return group_size || has_zero_point || quantize_lm_head || quantize_embedding ||
         !exclude_modules.empty();
}

void add_quant_options(CLI::App& app, QuantOptions& o) {
  app.add_option(
      "--group_size", o.group_size,
      "inputs that share a scale: 32, 64, 128, or -1 for a whole row (default: 64 for "
      "int8, less where 64 does not divide a tensor's inputs; -1 for fp8, 128 for int4)");
  app.add_flag("--has_zero_point,--asymmetric", o.has_zero_point,
               "keep a minimum beside each scale");
  app.add_option("--exclude_modules", o.exclude_modules,
                 "modules that stay as they are: attention.dense, transformer.layers.0.*, … "
                 "(commas or repeats)")
      ->delimiter(',');
  app.add_flag("--quantize_lm_head", o.quantize_lm_head,
               "also the lm_head (where it is tied to the embedding: the shared table)");
  app.add_flag("--quantize_embedding", o.quantize_embedding,
               "also the embedding (where it is tied to the lm_head: the shared table)");
}

void print_quant_report(const QuantReport& report) {
  for (const std::string& notice : report.notices) log::warning("{}", notice);
  fmt::print("{}", report.table());
}

}  // namespace tokamak::cli
