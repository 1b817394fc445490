#include "api/random_weights.h"

#include <memory>
#include <nlohmann/json.hpp>

#include "formats/hf_config.h"
#include "models/family.h"

namespace tokamak {
namespace {

std::vector<int64_t> shape_of(const ModelConfig& c, std::string_view name) {
  const int64_t q = c.num_attention_heads * c.head_size, kv = c.num_key_value_heads * c.head_size;
  const auto is = [&](std::string_view end) { return name.ends_with(end); };
  if (is("vocab_embedding.weight") || is("lm_head.weight")) return {c.vocab_size, c.hidden_size};
  if (is("q_layernorm.weight") || is("k_layernorm.weight")) return {c.head_size};
  if (is("layernorm.weight") || is("ln_f.weight") || is("ln_embed.weight")) return {c.hidden_size};
  if (c.norm_bias && (is("layernorm.bias") || is("ln_f.bias") || is("ln_embed.bias")))
    return {c.hidden_size};
  if (is("attention.qkv.weight")) return {q + 2 * kv, c.hidden_size};
  if (is("attention.qkv.bias")) return {q + 2 * kv};
  if (is("attention.dense.weight")) return {c.hidden_size, q};
  if (is("mlp.fc.weight") || is("mlp.gate.weight")) return {c.intermediate_size, c.hidden_size};
  if (is("mlp.fc.bias") || is("mlp.gate.bias")) return {c.intermediate_size};
  if (is("mlp.proj.weight")) return {c.hidden_size, c.intermediate_size};
  if (is("attention.dense.bias") || is("mlp.proj.bias")) return {c.hidden_size};
  return {};
}

}  // namespace

ModelConfig read_any_config(const std::filesystem::path& path, DType weight_dtype) {
  const bool directory = std::filesystem::is_directory(path);
  const Json json = load_json(directory ? path / "config.json" : path);
  ModelConfig config;
  if (json.contains("architectures")) {
    HfConfig hf = load_hf_config(path);
    const Family& family = family_of_architecture(hf.architecture, hf.source);
    config = model_config_from_hf(std::move(hf), family);
  } else {
    config = ModelConfig::from_json(json, path.string());
  }
  if (is_block_format(weight_dtype))
    config.quantization.quant_algo = weight_dtype == DType::f8_row ? "FP8" : "GGUF";
  else
    config.dtype = weight_dtype;
  return config;
}

nn::WeightLookup decoder_weight_shapes(const ModelConfig& config, DType weight_dtype,
                                       const QuantRecipe& recipe) {
  const auto policy = std::make_shared<QuantPolicy>(recipe, config);
  return [config, weight_dtype, recipe,
          policy](const std::string& name) -> std::optional<nn::WeightInfo> {
    std::vector<int64_t> shape = shape_of(config, name);
    if (shape.empty()) return std::nullopt;
    const bool table = name.ends_with("vocab_embedding.weight") || name.ends_with("lm_head.weight");
    const DType matrix = table && weight_dtype == DType::f8_row ? config.dtype : weight_dtype;
    const DType stays = shape.size() == 1 ? DType::f32 : matrix;
    const DType dtype =
        recipe ? policy->dtype_of(name, shape.size() > 1, shape.back(), stays, stays) : stays;
    return nn::WeightInfo{dtype, std::move(shape)};
  };
}

}  // namespace tokamak
