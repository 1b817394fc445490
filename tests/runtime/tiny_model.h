// A LLaMA of random weights that is built in a moment, for tests of what runs around the kernels.
#pragma once
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "api/build.h"

namespace tokamak::testing {

class TempDir {
 public:
  TempDir() {
    char name[] = "/tmp/tokamak-test-XXXXXX";
    path_ = ::mkdtemp(name);
  }
  ~TempDir() { std::filesystem::remove_all(path_); }
  TempDir(const TempDir&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

inline std::filesystem::path write_tiny_config(const std::filesystem::path& folder) {
  const auto path = folder / "tiny.json";
  std::ofstream(path) << R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama",
    "vocab_size": 320, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3,
    "num_attention_heads": 4, "num_key_value_heads": 2, "hidden_act": "silu",
    "max_position_embeddings": 4096, "rms_norm_eps": 1e-05, "rope_theta": 10000.0,
    "tie_word_embeddings": true, "torch_dtype": "float32"})";
  return path;
}

// Builds into folder/NAME and returns that.
inline std::filesystem::path build_tiny(const std::filesystem::path& folder, Backend& backend,
                                        BuildOptions options = {}, DType weights = DType::f32,
                                        const std::string& name = "engine") {
  options.output_dir = folder / name;
  options.quiet = true;
  if (options.max_num_tokens == 0) options.max_num_tokens = 64;
  if (options.max_batch_size == 0) options.max_batch_size = 4;
  build_random(write_tiny_config(folder), weights, options, backend);
  return options.output_dir;
}

}  // namespace tokamak::testing
