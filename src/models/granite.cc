// Granite 3 (dense): LLaMA with scales on embeddings, attention scores, residuals and logits.
#include "models/family.h"

namespace tokamak {
namespace {

double inverse(double scaling, const std::string& source) {
  if (scaling == 0) fail("'{}': the logits' scaling is 0", source);
  return 1 / scaling;
}

void from_hf(const JsonFields& fields, ModelConfig& c) {
  c.qkv_bias = c.dense_bias = fields.find_bool("attention_bias").value_or(false);
  c.mlp_bias = fields.find_bool("mlp_bias").value_or(false);
  c.embedding_scale = fields.get_float("embedding_multiplier");
  c.residual_scale = fields.get_float("residual_multiplier");
  c.attention_scale = fields.get_float("attention_multiplier");
  c.logits_scale = inverse(fields.get_float("logits_scaling"), fields.source());
  c.sliding_window = 0;
}

void from_gguf(const GgufModel& m, ModelConfig& c) {
  c.embedding_scale = m.float_or("embedding_scale", 1);
  c.residual_scale = m.float_or("residual_scale", 1);
  c.attention_scale = m.float_or("attention.scale", 0);
  c.logits_scale = inverse(m.float_or("logit_scale", 1), m.file().path().string());
}

}  // namespace

Family granite_family() {
  Family f{.key = "granite",
           .architectures = {"GraniteForCausalLM"},
           .gguf_architectures = {"granite"},
           .hf_defaults = R"({"vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 11008,
             "num_hidden_layers": 32, "num_attention_heads": 32, "hidden_act": "silu",
             "max_position_embeddings": 2048, "rms_norm_eps": 1e-6, "tie_word_embeddings": false,
             "embedding_multiplier": 1.0, "residual_multiplier": 1.0, "attention_multiplier": 1.0,
             "logits_scaling": 1.0})",
           .gguf_names = gguf_names(),
           .from_hf = from_hf,
           .from_gguf = from_gguf};
  f.gguf_names.paired_qk = true;
  return f;
}

}  // namespace tokamak
