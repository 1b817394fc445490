// An engine with random weights of a given shape, for benchmarks of models that are not at hand.
#pragma once
#include <filesystem>
#include <string>

#include "cli/quant_options.h"
#include "tokamak/llm.h"

namespace tokamak::cli {

struct RandomModelOptions {
  std::string model_config, qformat;
  QuantOptions quantization;
  bool random_weights = false, weights_in_file = false;
};
void add_random_model_options(CLI::App& app, RandomModelOptions& options);

// With --random_weights: builds (once) into the cache directory and returns the engine directory;
// without: empty. Weights are of model.dtype (auto is bfloat16; block formats, "q4_0", work too) or
// of --qformat. Unless they are wanted in the engine's file, they are made in place when it is
// opened. Error when flags do not go together.
std::filesystem::path random_model(const RandomModelOptions& options, const LLMOptions& model);

}  // namespace tokamak::cli
