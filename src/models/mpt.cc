// MPT: layer norms and linears without biases; ALiBi; a plain MLP with GELU; q, k and v in one
// tensor by kind.
#include "models/family.h"

namespace tokamak {
namespace {

void prepare_hf(Json& text) {
  rename_field(text, "n_layers", "num_hidden_layers");
  rename_field(text, "n_heads", "num_attention_heads");
  rename_field(text, "d_model", "hidden_size");
  rename_field(text, "layer_norm_epsilon", "rms_norm_eps");
  rename_field(text, "max_seq_len", "max_position_embeddings");
  text["num_key_value_heads"] = text.value("num_attention_heads", Json());
  const auto wider = text.find("expansion_ratio"), hidden = text.find("hidden_size");
  if (wider != text.end() && wider->is_number_integer() && hidden != text.end() &&
      hidden->is_number_integer())
    text["intermediate_size"] = wider->get<int64_t>() * hidden->get<int64_t>();
}

void from_hf(const JsonFields& fields, ModelConfig& c) {
  const auto refuse = [&](const char* what) {
    fail("'{}': {}, which is not supported", fields.source(), what);
  };
  if (!fields.find_bool("no_bias").value_or(true)) refuse("no_bias is false");
  if (fields.has("logit_scale")) refuse("logit_scale is set");
  if (const auto attention = fields.object("attn_config")) {
    if (attention->find_bool("qk_ln").value_or(false)) refuse("attn_config.qk_ln is true");
    if (attention->find_bool("prefix_lm").value_or(false)) refuse("attn_config.prefix_lm is true");
    if (attention->has("clip_qkv")) refuse("attn_config.clip_qkv is set");
    if (attention->find_string("attn_type").value_or("multihead_attention") !=
        "multihead_attention")
      refuse("attn_config.attn_type is not multihead_attention");
    if (attention->find_float("alibi_bias_max").value_or(8) != 8)
      refuse("attn_config.alibi_bias_max is not 8");
    c.attention_scale = attention->find_float("softmax_scale").value_or(0);
    if (!attention->find_bool("alibi").value_or(true)) refuse("attn_config.alibi is false");
  }
  c.position_embedding_type = "alibi";
  c.norm_type = "layer_norm";
  c.gated_mlp = false;
}

}  // namespace

Family mpt_family() {
  Family f{.key = "mpt",
           .architectures = {"MptForCausalLM", "MPTForCausalLM"},
           .hf_defaults = R"({"vocab_size": 50368, "d_model": 2048, "n_layers": 24, "n_heads": 16,
             "expansion_ratio": 4, "max_seq_len": 2048, "layer_norm_epsilon": 1e-5,
             "hidden_act": "gelu", "tie_word_embeddings": true})",
           .prepare_hf = prepare_hf,
           .from_hf = from_hf};
  WeightNames& n = f.hf_names;
  n.prefixes = {"transformer.", ""};
  n.layer = "blocks.{}.";
  n.embedding = "wte";
  n.final_norm = "norm_f";
  n.qkv = "attn.Wqkv";
  n.fused_qkv = FusedQkv::by_kind;
  n.dense = "attn.out_proj";
  n.input_norm = "norm_1";
  n.mlp_norm = "norm_2";
  n.gate = "ffn.up_proj";
  n.down = "ffn.down_proj";
  return f;
}

}  // namespace tokamak
