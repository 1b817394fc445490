// Gemma 2: Gemma with norms on both sides of attention and MLP, soft caps on attention scores and
// logits, and a window on every other layer.
#include <cmath>

#include "models/family.h"

namespace tokamak {
namespace {

void shared(ModelConfig& c) {
  c.embedding_scale = std::sqrt(static_cast<double>(c.hidden_size));
  c.sandwich_norms = true;
}

void alternate_windows(ModelConfig& c) {
  for (int64_t i = 0; i < c.num_hidden_layers; ++i)
    c.layer_windows.push_back(i % 2 == 0 ? c.sliding_window : 0);
}

void from_hf(const JsonFields& fields, ModelConfig& c) {
  shared(c);
  c.qkv_bias = c.dense_bias = fields.find_bool("attention_bias").value_or(false);
  c.attention_scale = 1 / std::sqrt(fields.get_float("query_pre_attn_scalar"));
  c.attention_softcap = fields.find_float("attn_logit_softcapping").value_or(0);
  c.final_softcap = fields.find_float("final_logit_softcapping").value_or(0);
  if (fields.has("layer_types"))
    c.layer_windows = windows_of_layer_types(fields, c);
  else
    alternate_windows(c);
  c.sliding_window = 0;
}

void from_gguf(const GgufModel& m, ModelConfig& c) {
  shared(c);
  c.hidden_act = "gelu_tanh";
  c.attention_softcap = m.float_or("attn_logit_softcapping", 50);
  c.final_softcap = m.float_or("final_logit_softcapping", 30);
  c.sliding_window = m.int_or("attention.sliding_window", 4096);
  // The scale is not in the file; the 27B model alone has another than its head size's.
  if (c.num_hidden_layers == 46 && c.hidden_size == 4608)
    c.attention_scale = 1 / std::sqrt(static_cast<double>(c.hidden_size / c.num_attention_heads));
  alternate_windows(c);
  c.sliding_window = 0;
}

}  // namespace

Family gemma2_family() {
  Family f{.key = "gemma2",
           .architectures = {"Gemma2ForCausalLM"},
           .gguf_architectures = {"gemma2"},
           .hf_defaults = R"({"vocab_size": 256000, "hidden_size": 2304, "intermediate_size": 9216,
             "num_hidden_layers": 26, "num_attention_heads": 8, "num_key_value_heads": 4,
             "head_dim": 256, "hidden_activation": "gelu_pytorch_tanh",
             "max_position_embeddings": 8192, "rms_norm_eps": 1e-6, "tie_word_embeddings": true,
             "query_pre_attn_scalar": 256, "sliding_window": 4096,
             "final_logit_softcapping": 30.0, "attn_logit_softcapping": 50.0})",
           .gguf_names = gguf_names(),
           .from_hf = from_hf,
           .from_gguf = from_gguf};
  use_sandwich_norm_names(f.hf_names);
  return f;
}

}  // namespace tokamak
