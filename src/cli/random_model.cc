#include "cli/random_model.h"

#include <fmt/format.h>

#include <functional>

#include "api/build.h"
#include "api/cache_dir.h"
#include "base/json.h"
#include "tokamak/version.h"

namespace tokamak::cli {
namespace {

std::string describe(const QuantRecipe& r) {
  return r ? fmt::format("{} {}", name(r.dtype()), r.quantize_lm_head) : "plain";
}

}  // namespace

std::filesystem::path random_model(const std::filesystem::path& model_config,
                                   const LLMOptions& options, const QuantRecipe& quantization,
                                   bool weights_in_file) {
  const DType dtype = options.dtype == "auto" ? DType::bf16 : parse_dtype(options.dtype);
  const auto backend =
      make_backend(options.device, options.workers, {}, load_plugins(options.plugins));
  const size_t key = std::hash<std::string>{}(
      fmt::format("{}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}", read_text(model_config), name(dtype),
                  describe(quantization), weights_in_file, kKernelVersion, options.kv_cache_dtype,
                  options.tuning, options.activation_bits, options.deterministic,
                  options.max_num_tokens, backend->properties().key));
  const auto folder =
      cache_dir(options.cache_dir) /
      fmt::format("random-{}-{:016x}-v{}", model_config.stem().string(), key, kEngineFormat);
  if (std::filesystem::exists(folder)) return folder;
  BuildOptions build;
  build.output_dir = folder;
  build.kv_cache_dtype = options.kv_cache_dtype;
  build.tuning = options.tuning;
  build.activation_bits = options.activation_bits;
  build.deterministic = options.deterministic;
  build.max_num_tokens = options.max_num_tokens;
  build.quantization = quantization;
  build.weights_at_open = !weights_in_file;
  build.timing_cache = cache_dir(options.cache_dir) / "timing.cache";
  build.plugins = options.plugins;
  build.quiet = true;
  build_random(model_config, dtype, build, *backend);
  return folder;
}

}  // namespace tokamak::cli
