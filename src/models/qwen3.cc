// Qwen3 (dense): RMS norm on every head of q and k; no biases unless attention_bias.
#include "models/family.h"

namespace tokamak {
namespace {

void from_hf(const JsonFields& fields, ModelConfig& c) {
  c.qk_norm = true;
  c.qkv_bias = c.dense_bias = fields.find_bool("attention_bias").value_or(false);
  if (fields.has("layer_types")) {
    c.layer_windows = windows_of_layer_types(fields, c);
  } else if (fields.find_bool("use_sliding_window").value_or(false)) {
    const int64_t first = fields.find_int("max_window_layers").value_or(28);
    for (int64_t i = 0; i < c.num_hidden_layers; ++i)
      c.layer_windows.push_back(i >= first ? c.sliding_window : 0);
  }
  c.sliding_window = 0;
}

}  // namespace

Family qwen3_family() {
  return {.key = "qwen3",
          .architectures = {"Qwen3ForCausalLM"},
          .gguf_architectures = {"qwen3"},
          .hf_defaults = R"({"vocab_size": 151936, "hidden_size": 4096, "intermediate_size": 22016,
            "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 32,
            "head_dim": 128, "hidden_act": "silu", "max_position_embeddings": 32768,
            "rms_norm_eps": 1e-6, "tie_word_embeddings": false, "sliding_window": 4096})",
          .gguf_names = gguf_names(),
          .from_hf = from_hf};
}

}  // namespace tokamak
