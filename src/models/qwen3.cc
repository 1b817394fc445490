// Qwen3 (dense): RMS norm on every head of q and k; no biases unless attention_bias.
#include "models/family.h"

namespace tokamak {
namespace {

void from_hf(const JsonFields& fields, ModelConfig& c) {
  c.qk_norm = true;
  c.qkv_bias = c.dense_bias = fields.find_bool("attention_bias").value_or(false);
  read_qwen_windows(fields, c);
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
