// Models that exist only as a config: which weights they would have.
#pragma once
#include <filesystem>

#include "formats/model_config.h"
#include "nn/builder.h"
#include "quant/recipe.h"

namespace tokamak {

// A Hugging Face config.json or a checkpoint's; Error when it is neither. Block formats count as
// quantization, so that the rest of the model stays plain.
ModelConfig read_any_config(const std::filesystem::path& path, DType weight_dtype);

// dtype and shape of every weight of the decoder: vectors of float32, matrices of weight_dtype, or
// what the recipe makes of them. Error when its groups do not fit.
nn::WeightLookup decoder_weight_shapes(const ModelConfig& config, DType weight_dtype,
                                       const QuantRecipe& recipe = {});

}  // namespace tokamak
