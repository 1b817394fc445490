// What a model is, as plain data: the checkpoint's config.json in a struct. Field names in JSON are
// the ones of TensorRT-LLM's checkpoints where it has them (num_hidden_layers, norm_epsilon,
// rotary_base, mapping.tp_size …).
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "base/json.h"

namespace tokamak {

struct RopeScalingConfig {
  std::string kind = "none";  // none|linear|dynamic|llama3|yarn|longrope
  double factor = 1;
  int64_t original_max_position = 0;
  double low_freq_factor = 1, high_freq_factor = 4;
  double beta_fast = 32, beta_slow = 1;
  double attention_factor = 0;  // 0: derived from factor
  double mscale = 0, mscale_all_dim = 0;
  bool truncate = true;
  std::vector<double> short_factor, long_factor;
};

struct Mapping {
  int tp_size = 1, pp_size = 1;
  int world_size() const { return tp_size * pp_size; }
};

struct QuantizationConfig {
  std::string quant_algo;  // empty: none; "GGUF": weights in their own GGUF blocks; "W8A16", …
  std::string kv_cache_quant_algo;
  int64_t group_size = 0;
  bool has_zero_point = false, pre_quant_scale = false;
  std::vector<std::string> exclude_modules;
  std::map<std::string, double> activation_scales;  // FP8, static ones; of scaled_module()s
};
// "transformer.layers.0.attention.q.weight" → "transformer.layers.0.attention.qkv": what has the
// scale of the activations that a weight meets; q, k and v, which see the same ones, have one.
std::string scaled_module(std::string weight);

// Beyond these a file is damaged, not large; loops over layers and heads stay bounded.
inline constexpr int64_t kMaxLayers = 1024, kMaxHeads = 1024;

struct ModelConfig {
  std::string architecture;   // HF class name: "LlamaForCausalLM"
  std::string model_type;     // registry key of the family: "llama", "qwen3", "gemma3" …
  DType dtype = DType::bf16;  // of the plain tensors
  int64_t vocab_size = 0, hidden_size = 0, num_hidden_layers = 0;
  int64_t num_attention_heads = 0, num_key_value_heads = 0, head_size = 0;
  int64_t intermediate_size = 0, max_position_embeddings = 0;
  std::string hidden_act = "silu";
  double norm_epsilon = 1e-5;
  bool tie_word_embeddings = false;

  // Position: rope_gpt_neox | rope_gptj | alibi | none
  std::string position_embedding_type = "rope_gpt_neox";
  double rotary_base = 10000;
  double rotary_pct = 1;  // part of head_size that turns
  RopeScalingConfig rotary_scaling;
  double rotary_local_base = 0;  // Gemma 3: base of the windowed layers (no scaling there); 0: same
  std::vector<bool> no_rope_layers;  // true: that layer does not turn; empty: all turn

  // Attention
  bool qkv_bias = false, dense_bias = false, mlp_bias = false;
  bool qk_norm = false;          // RMS norm per head on q and k before rope
  double attention_scale = 0;    // 0: 1/sqrt(head_size)
  double attention_softcap = 0;  // Gemma 2
  int64_t sliding_window = 0;    // 0: full attention
  std::vector<int64_t>
      layer_windows;  // per layer window, 0 = full; empty: sliding_window everywhere

  // Structure
  std::string norm_type = "rms_norm";  // rms_norm | layer_norm
  bool norm_bias = false;
  bool embedding_norm = false;  // BLOOM: a norm after the embedding
  bool gated_mlp = true;        // else proj(activation(fc(x)))
  bool sandwich_norms = false;  // Gemma 2/3: norms also after attention and after the MLP
  double embedding_scale = 1;   // Gemma: sqrt(hidden_size); Granite
  double residual_scale = 1;    // Granite
  double logits_scale = 1;      // logits are multiplied by it
  double final_softcap = 0;     // Gemma 2

  Mapping mapping;
  QuantizationConfig quantization;
  std::map<std::string, std::string> extra;  // JSON texts of fields that nothing here reads

  int64_t window(int64_t layer) const {
    return layer_windows.empty() ? sliding_window : layer_windows.at(layer);
  }
  bool ropes(int64_t layer) const { return no_rope_layers.empty() || !no_rope_layers.at(layer); }
  // Positive sizes, heads divisible …: Error names the field, the value and what would do.
  void validate(const std::string& source) const;
  Json to_json() const;
  static ModelConfig from_json(const Json& json, const std::string& source);
};

}  // namespace tokamak
