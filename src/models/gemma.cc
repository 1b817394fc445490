// Gemma 1: LLaMA's structure with GELU, norms that add 1 to their weight, and embeddings scaled by
// sqrt(hidden_size), tied to the head.
#include <cmath>

#include "models/family.h"

namespace tokamak {

Family gemma_family() {
  Family f{.key = "gemma",
           .architectures = {"GemmaForCausalLM"},
           .gguf_architectures = {"gemma"},
           .hf_defaults = R"({"vocab_size": 256000, "hidden_size": 3072, "intermediate_size": 24576,
             "num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 16,
             "head_dim": 256, "hidden_act": "gelu_pytorch_tanh",
             "max_position_embeddings": 8192, "rms_norm_eps": 1e-6,
             "tie_word_embeddings": true})",
           .gguf_names = gguf_names()};
  f.hf_names.norm_add = 1;
  f.from_hf = [](const JsonFields& fields, ModelConfig& c) {
    if (c.hidden_act == "gelu") c.hidden_act = "gelu_tanh";  // what old files mean
    c.embedding_scale = std::sqrt(static_cast<double>(c.hidden_size));
    c.qkv_bias = c.dense_bias = fields.find_bool("attention_bias").value_or(false);
    c.sliding_window = 0;
  };
  f.from_gguf = [](const GgufModel&, ModelConfig& c) {
    c.hidden_act = "gelu_tanh";
    c.embedding_scale = std::sqrt(static_cast<double>(c.hidden_size));
  };
  return f;
}

}  // namespace tokamak
