// Qwen2, Qwen2.5: biases on q, k and v; optionally a window from some layer on.
#include "models/family.h"

namespace tokamak {
namespace {

void from_hf(const JsonFields& fields, ModelConfig& c) {
  c.qkv_bias = true;
  read_qwen_windows(fields, c);
}

}  // namespace

Family qwen2_family() {
  return {.key = "qwen2",
          .architectures = {"Qwen2ForCausalLM"},
          .gguf_architectures = {"qwen2"},
          .hf_defaults = R"({"vocab_size": 151936, "hidden_size": 4096, "intermediate_size": 22016,
            "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 32,
            "hidden_act": "silu", "max_position_embeddings": 32768, "rms_norm_eps": 1e-6,
            "tie_word_embeddings": false, "sliding_window": 4096})",
          .gguf_names = gguf_names(),
          .from_hf = from_hf};
}

}  // namespace tokamak
