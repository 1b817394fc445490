// Phi-3, Phi-3.5, Phi-4: q, k, v in one tensor by kind, gate and up in another; longrope.
#include "models/family.h"

namespace tokamak {
namespace {

void from_hf(const JsonFields& fields, ModelConfig& c) {
  RopeScalingConfig& r = c.rotary_scaling;
  if (r.kind != "none" && r.kind != "longrope" && r.kind != "yarn")
    fail("'{}': rope scaling '{}' does not exist for Phi-3, expected longrope", fields.source(),
         r.kind);
  if (r.kind != "yarn") return;  // an old name of longrope
  const char* key = fields.has("rope_parameters") ? "rope_parameters" : "rope_scaling";
  Json renamed = *fields.find(key);
  renamed["rope_type"] = "longrope";
  read_rope_parameters(JsonFields(renamed, fields.source(), std::string(key) + "."), fields, c);
}

}  // namespace

Family phi3_family() {
  Family f{.key = "phi3",
           .architectures = {"Phi3ForCausalLM"},
           .gguf_architectures = {"phi3"},
           .hf_defaults = R"({"vocab_size": 32064, "hidden_size": 3072, "intermediate_size": 8192,
             "num_hidden_layers": 32, "num_attention_heads": 32, "hidden_act": "silu",
             "max_position_embeddings": 4096, "original_max_position_embeddings": 4096,
             "rms_norm_eps": 1e-5, "tie_word_embeddings": false})",
           .gguf_names = gguf_names(),
           .from_hf = from_hf};
  f.hf_names.qkv = "self_attn.qkv_proj";
  f.hf_names.fused_qkv = FusedQkv::by_kind;
  f.hf_names.gate_up = "mlp.gate_up_proj";
  f.gguf_names.qkv = "attn_qkv";
  f.gguf_names.fused_qkv = FusedQkv::by_kind;
  f.gguf_names.gate_up = "ffn_up";
  return f;
}

}  // namespace tokamak
