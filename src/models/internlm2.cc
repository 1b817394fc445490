// InternLM2, InternLM2.5: q, k and v in one tensor, grouped by kv head.
#include "models/family.h"

namespace tokamak {
namespace {

WeightNames hf_names() {
  WeightNames n;
  n.embedding = "tok_embeddings";
  n.heads = {"output", "lm_head"};
  n.qkv = "attention.wqkv";
  n.fused_qkv = FusedQkv::by_group;
  n.dense = "attention.wo";
  n.input_norm = "attention_norm";
  n.mlp_norm = "ffn_norm";
  n.gate = "feed_forward.w1";
  n.up = "feed_forward.w3";
  n.down = "feed_forward.w2";
  return n;
}

}  // namespace

Family internlm2_family() {
  Family f{.key = "internlm2",
           .architectures = {"InternLM2ForCausalLM"},
           .gguf_architectures = {"internlm2"},
           .hf_defaults = R"({"vocab_size": 103168, "hidden_size": 4096, "intermediate_size": 11008,
             "num_hidden_layers": 32, "num_attention_heads": 32, "hidden_act": "silu",
             "max_position_embeddings": 2048, "rms_norm_eps": 1e-6, "tie_word_embeddings": false})",
           .hf_names = hf_names(),
           .gguf_names = gguf_names()};
  f.gguf_names.paired_qk = true;
  f.from_hf = [](const JsonFields& fields, ModelConfig& c) {
    c.qkv_bias = c.dense_bias = fields.find_bool("bias").value_or(true);
  };
  return f;
}

}  // namespace tokamak
