#include "models/family.h"

namespace tokamak {

std::vector<int64_t> windows_of_layer_types(const JsonFields& fields, const ModelConfig& config) {
  std::vector<int64_t> out;
  for (const std::string& type : fields.strings("layer_types")) {
    if (type != "sliding_attention" && type != "full_attention")
      fail("'{}': layer_types holds '{}'; known: full_attention, sliding_attention",
           fields.source(), type);
    out.push_back(type == "sliding_attention" ? config.sliding_window : 0);
  }
  return out;
}

void read_qwen_windows(const JsonFields& fields, ModelConfig& config) {
  if (fields.has("layer_types")) {
    config.layer_windows = windows_of_layer_types(fields, config);
  } else if (fields.find_bool("use_sliding_window").value_or(false)) {
    const int64_t first = fields.find_int("max_window_layers").value_or(28);
    for (int64_t i = 0; i < config.num_hidden_layers; ++i)
      config.layer_windows.push_back(i >= first ? config.sliding_window : 0);
  }
  config.sliding_window = 0;
}

void use_sandwich_norm_names(WeightNames& hf_names) {
  hf_names.norm_add = 1;
  hf_names.after_attention_norm = "post_attention_layernorm";
  hf_names.mlp_norm = "pre_feedforward_layernorm";
  hf_names.after_mlp_norm = "post_feedforward_layernorm";
}

void rename_field(Json& text, const char* from, const char* to) {
  const auto it = text.find(from);
  if (it == text.end()) return;
  const Json value = *it;
  if (!text.contains(to)) text[to] = value;
}

ModelConfig model_config_from_hf(HfConfig config, const Family& family) {
  apply_defaults(config, family.hf_defaults);
  if (family.prepare_hf) family.prepare_hf(config.text);
  ModelConfig c = read_common_config(config);
  c.model_type = family.key;
  if (family.from_hf) family.from_hf(config.fields(), c);
  c.validate(config.source);
  return c;
}

}  // namespace tokamak
