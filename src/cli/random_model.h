// An engine with random weights of a given shape, for benchmarks of models that are not at hand.
#pragma once
#include <filesystem>

#include "quant/recipe.h"
#include "tokamak/llm.h"

namespace tokamak::cli {

// Builds (once) into the cache directory and returns the engine directory. Weights are of
// options.dtype: auto is bfloat16; block formats ("q4_0") work too. Unless they are wanted in the
// engine's file, weights are made in place when it is opened.
std::filesystem::path random_model(const std::filesystem::path& model_config,
                                   const LLMOptions& options, const QuantRecipe& quantization,
                                   bool weights_in_file);

}  // namespace tokamak::cli
