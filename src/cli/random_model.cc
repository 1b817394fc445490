#include "cli/random_model.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <functional>

#include "api/build.h"
#include "api/cache_dir.h"
#include "base/error.h"
#include "base/json.h"
#include "tokamak/version.h"

namespace tokamak::cli {
namespace {

std::string describe(const QuantRecipe& r) {
  return r ? fmt::format("{} {}", name(r.dtype()), r.quantize_lm_head) : "plain";
}

}  // namespace

void add_random_model_options(CLI::App& app, RandomModelOptions& o) {
  app.add_flag("--random_weights", o.random_weights,
               "Make weights for --model_config instead of a model");
  app.add_flag("--weights_in_file", o.weights_in_file,
               "With --random_weights: write them into the engine, to measure how it loads");
  app.add_option("--model_config", o.model_config, "HF config.json of the shape");
  app.add_option("--qformat", o.qformat,
                 "With --random_weights: fp8, int8_wo or int4_wo instead of --dtype");
  add_quant_options(app, o.quantization);
}

std::filesystem::path random_model(const RandomModelOptions& o, const LLMOptions& options) {
  if (o.random_weights != !o.model_config.empty())
    fail("--random_weights and --model_config FILE go together");
  if (!o.random_weights && !o.qformat.empty())
    fail("--qformat is for --random_weights; a model has its own (tokamak quantize)");
  if (!o.random_weights) return {};
  const QuantRecipe quantization =
      o.qformat.empty() ? QuantRecipe{} : o.quantization.recipe(o.qformat);
  const DType dtype = options.dtype == "auto" ? DType::bf16 : parse_dtype(options.dtype);
  const auto backend =
      make_backend(options.device, options.workers, {}, load_plugins(options.plugins));
  const size_t key = std::hash<std::string>{}(
      fmt::format("{}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}", read_text(o.model_config), name(dtype),
                  describe(quantization), o.weights_in_file, kKernelVersion, options.kv_cache_dtype,
                  options.tuning, options.activation_bits, options.deterministic,
                  options.max_num_tokens, backend->properties().key));
  const auto folder =
      cache_dir(options.cache_dir) /
      fmt::format("random-{}-{:016x}-v{}", std::filesystem::path(o.model_config).stem().string(),
                  key, kEngineFormat);
  if (std::filesystem::exists(folder)) return folder;
  BuildOptions build;
  build.output_dir = folder;
  build.kv_cache_dtype = options.kv_cache_dtype;
  build.tuning = options.tuning;
  build.activation_bits = options.activation_bits;
  build.deterministic = options.deterministic;
  build.max_num_tokens = options.max_num_tokens;
  build.quantization = quantization;
  build.weights_at_open = !o.weights_in_file;
  build.timing_cache = cache_dir(options.cache_dir) / "timing.cache";
  build.plugins = options.plugins;
  build.quiet = true;
  build_random(o.model_config, dtype, build, *backend);
  return folder;
}

}  // namespace tokamak::cli
