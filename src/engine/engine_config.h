// config.json of an engine directory: what the model is and what the engine was built for. The
// directory holds config.json, rank{N}.engine, timing.cache and the model's text files.
#pragma once
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/dtype.h"
#include "base/json.h"

namespace tokamak {

// The tuned range, not a prison: larger requests run too when they fit in memory.
struct BuildLimits {
  int64_t max_batch_size = 8;
  int64_t max_input_len = 1024;
  int64_t max_seq_len = 2048;    // prompt and answer
  int64_t max_num_tokens = 512;  // of one step
  int64_t max_beam_width = 1;
  void validate() const;  // Error names the flag
};

struct EngineConfig {
  std::string version;  // of the program that built it
  Json pretrained;      // the checkpoint's config.json
  BuildLimits limits;
  DType kv_cache_dtype = DType::f16;
  std::string device, isa;             // tuned for
  std::string debug_tensors;           // glob that was given at build
  std::string activation_bits = "16";  // engine/numerics.h, as given
  bool deterministic = false;
  int64_t max_lora_rank = 0;                     // of adapters (engine/lora_plan.h); 0: none
  std::vector<std::string> lora_target_modules;  // empty: all that take adapters
  Json to_json() const;
  static EngineConfig from_json(const Json& json, const std::string& source);
};

EngineConfig read_engine_config(const std::filesystem::path& directory);
std::filesystem::path engine_path(const std::filesystem::path& directory, int rank);
// Whether the directory is an engine's (not a checkpoint's or a model's).
bool is_engine_directory(const std::filesystem::path& directory);

}  // namespace tokamak
