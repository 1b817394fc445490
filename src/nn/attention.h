// Self-attention over the paged KV cache with grouped heads, optional norm per head and rope.
// Weights: prefix.qkv [(heads + 2·kv_heads)·head, hidden], or prefix.{q,k,v} apart; prefix.dense;
// prefix.{q,k}_layernorm [head].
#pragma once
#include "nn/linear.h"
#include "nn/rms_norm.h"

namespace tokamak::nn {

struct AttentionOptions {
  int64_t hidden = 0;
  bool qkv_bias = false, dense_bias = false;
  AttentionAttrs op;  // heads, layer, scale, window, qk_norm, has_rope …
};

class Attention {
 public:
  Attention(Builder& builder, const std::string& prefix, const AttentionOptions& options);
  Tensor operator()(Tensor x, Tensor positions) const;  // [tokens, hidden] → the same

 private:
  std::vector<Tensor> project(Tensor x) const;  // q, k, v
  Tensor norm_heads(const RmsNorm& norm, Tensor x) const;

  std::string prefix_;
  AttentionOptions options_;
  std::vector<Linear> qkv_;  // one joined, or three
  Linear dense_;
  std::vector<RmsNorm> qk_norms_;
};

}  // namespace tokamak::nn
