// BLOOM: layer norms with biases, one more after the embedding; ALiBi; a plain MLP with GELU; q, k
// and v of a head together in one tensor.
#include "models/family.h"

namespace tokamak {
namespace {

void prepare_hf(Json& text) {
  rename_field(text, "n_layer", "num_hidden_layers");
  rename_field(text, "n_head", "num_attention_heads");
  rename_field(text, "n_embed", "hidden_size");
  rename_field(text, "layer_norm_epsilon", "rms_norm_eps");
  rename_field(text, "seq_length", "max_position_embeddings");
  text["num_key_value_heads"] = text.value("num_attention_heads", Json());
  if (text.contains("hidden_size") && text["hidden_size"].is_number_integer())
    text["intermediate_size"] = 4 * text["hidden_size"].get<int64_t>();
}

void from_hf(const JsonFields& fields, ModelConfig& c) {
  if (fields.find_bool("apply_residual_connection_post_layernorm").value_or(false))
    fail("'{}': apply_residual_connection_post_layernorm is true, which is not supported",
         fields.source());
  c.position_embedding_type = "alibi";
  c.norm_type = "layer_norm";
  c.norm_bias = c.embedding_norm = true;
  c.gated_mlp = false;
  c.qkv_bias = c.dense_bias = c.mlp_bias = true;
}

}  // namespace

Family bloom_family() {
  Family f{.key = "bloom",
           .architectures = {"BloomForCausalLM"},
           .hf_defaults = R"({"vocab_size": 250880, "hidden_size": 64, "n_layer": 2, "n_head": 8,
             "seq_length": 2048, "layer_norm_epsilon": 1e-5, "hidden_act": "gelu_pytorch_tanh",
             "tie_word_embeddings": true})",
           .prepare_hf = prepare_hf,
           .from_hf = from_hf};
  WeightNames& n = f.hf_names;
  n.prefixes = {"transformer.", ""};
  n.layer = "h.{}.";
  n.embedding = "word_embeddings";
  n.embedding_norm = "word_embeddings_layernorm";
  n.final_norm = "ln_f";
  n.qkv = "self_attention.query_key_value";
  n.fused_qkv = FusedQkv::by_group;
  n.dense = "self_attention.dense";
  n.gate = "mlp.dense_h_to_4h";
  n.down = "mlp.dense_4h_to_h";
  return f;
}

}  // namespace tokamak
