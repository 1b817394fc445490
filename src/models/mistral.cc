// Mistral: LLaMA with a sliding window on every layer. GGUF files of it say "llama".
#include "models/family.h"

namespace tokamak {

Family mistral_family() {
  return {.key = "mistral",
          .architectures = {"MistralForCausalLM"},
          .gguf_architectures = {},
          .hf_defaults = R"({"vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 14336,
            "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
            "hidden_act": "silu", "max_position_embeddings": 131072, "rms_norm_eps": 1e-6,
            "tie_word_embeddings": false, "sliding_window": 4096})",
          .gguf_names = gguf_names()};
}

}  // namespace tokamak
