// LLaMA 1, 2, 3 and what shares its class: SmolLM, TinyLlama, Yi, many fine-tunes.
#include "models/family.h"

namespace tokamak {

Family llama_family() {
  Family f{.key = "llama",
           .architectures = {"LlamaForCausalLM", "LLaMAForCausalLM"},
           .gguf_architectures = {"llama"},
           .hf_defaults = R"({"vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 11008,
             "num_hidden_layers": 32, "num_attention_heads": 32, "hidden_act": "silu",
             "max_position_embeddings": 2048, "rms_norm_eps": 1e-6, "tie_word_embeddings": false})",
           .gguf_names = gguf_names()};
  f.gguf_names.paired_qk = true;
  f.from_hf = [](const JsonFields& fields, ModelConfig& c) {
    c.qkv_bias = c.dense_bias = fields.find_bool("attention_bias").value_or(false);
    c.mlp_bias = fields.find_bool("mlp_bias").value_or(false);
    c.sliding_window = 0;  // the class has none
  };
  return f;
}

}  // namespace tokamak
