// `tokamak build`: a checkpoint directory → an engine directory, whole or not at all.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "compile/compile.h"
#include "ops/plugin.h"
#include "quant/recipe.h"

namespace tokamak {

struct BuildOptions {
  std::filesystem::path checkpoint_dir, output_dir;
  // 0: from the model (max_seq_len) or the default of engine/engine_config.h.
  int64_t max_batch_size = 0, max_input_len = 0, max_seq_len = 0, max_num_tokens = 0;
  int64_t max_beam_width = 0;
  std::string kv_cache_dtype = "auto";  // auto: float32 for float32 checkpoints, else float16
  bool tuning = true;
  // Of linears: auto, 8, 16, or the kinds of linear that get 8 (engine/numerics.h).
  std::string activation_bits = "auto";
  int64_t max_lora_rank = 0;                     // of adapters that the engine takes; 0: none
  std::vector<std::string> lora_target_modules;  // empty: all that take adapters
  bool deterministic = false;  // tactics whose results do not depend on the rest of the step
  std::filesystem::path timing_cache;  // read when it exists, and written
  std::string debug_tensors;
  std::string device = "cpu";
  int workers = 0;
  std::vector<std::string> plugins;  // libraries with users' ops (tokamak/plugin.h)
  bool overwrite = false;
  bool quiet = false;  // no memory table
  // build_random: linear weights in a weight-only format or fp8; and no weights in the engine, they
  // are made anew whenever it is opened.
  QuantRecipe quantization;
  bool weights_at_open = false;
};

// "cpu" or "cuda", with users' ops; Error lists the known devices.
std::unique_ptr<Backend> make_backend(const std::string& device, int workers,
                                      const std::string& isa = {},
                                      const PluginLibraries& plugins = {});
PluginLibraries load_plugins(const std::vector<std::string>& paths);

CompileReport build(const BuildOptions& options);
// With a backend that the caller has.
CompileReport build(const BuildOptions& options, Backend& backend);
// From generated weights of a model's shape: model_config is a Hugging Face config.json (or the
// directory with it) or a checkpoint's. Matrices get weight_dtype (block formats too). For
// benchmarks.
CompileReport build_random(const std::filesystem::path& model_config, DType weight_dtype,
                           const BuildOptions& options, Backend& backend);

}  // namespace tokamak
