// The weights of a decoder by its config, without a checkpoint.
#pragma once
#include <map>

#include "formats/model_config.h"
#include "nn/builder.h"

namespace tokamak::test {

struct FakeWeights {
  std::map<std::string, nn::WeightInfo> tensors;

  nn::WeightLookup lookup() const {
    return [this](const std::string& name) -> std::optional<nn::WeightInfo> {
      const auto it = tensors.find(name);
      if (it == tensors.end()) return std::nullopt;
      return it->second;
    };
  }
};

inline FakeWeights decoder_weights(const ModelConfig& c, bool joined_qkv, DType dtype) {
  FakeWeights w;
  const int64_t h = c.hidden_size, q = c.num_attention_heads * c.head_size,
                kv = c.num_key_value_heads * c.head_size, m = c.intermediate_size;
  const auto linear = [&](const std::string& name, int64_t out, int64_t in, bool bias) {
    w.tensors[name + ".weight"] = {dtype, {out, in}};
    if (bias) w.tensors[name + ".bias"] = {DType::f32, {out}};
  };
  const auto norm = [&](const std::string& name, int64_t n) {
    w.tensors[name + ".weight"] = {DType::f32, {n}};
  };
  linear("transformer.vocab_embedding", c.vocab_size, h, false);
  if (!c.tie_word_embeddings) linear("lm_head", c.vocab_size, h, false);
  norm("transformer.ln_f", h);
  for (int64_t i = 0; i < c.num_hidden_layers; ++i) {
    const std::string p = "transformer.layers." + std::to_string(i) + ".";
    if (joined_qkv) {
      linear(p + "attention.qkv", q + 2 * kv, h, c.qkv_bias);
    } else {
      linear(p + "attention.q", q, h, c.qkv_bias);
      linear(p + "attention.k", kv, h, c.qkv_bias);
      linear(p + "attention.v", kv, h, c.qkv_bias);
    }
    linear(p + "attention.dense", h, q, c.dense_bias);
    linear(p + "mlp.fc", m, h, c.mlp_bias);
    linear(p + "mlp.gate", m, h, c.mlp_bias);
    linear(p + "mlp.proj", h, m, c.mlp_bias);
    for (const char* n : {"input_layernorm", "post_layernorm"}) norm(p + n, h);
    if (c.sandwich_norms)
      for (const char* n : {"post_attention_layernorm", "post_feedforward_layernorm"})
        norm(p + n, h);
    if (c.qk_norm)
      for (const char* n : {"attention.q_layernorm", "attention.k_layernorm"})
        norm(p + n, c.head_size);
  }
  return w;
}

}  // namespace tokamak::test
