#include "nn/attention.h"

namespace tokamak::nn {
namespace {

std::vector<Linear> projections(Builder& b, const std::string& prefix, const AttentionOptions& o) {
  const int64_t q = o.op.heads * o.op.head_dim, kv = o.op.kv_heads * o.op.head_dim;
  if (!b.has_weight(prefix + ".q.weight"))
    return {Linear(b, prefix + ".qkv", o.hidden, q + 2 * kv, o.qkv_bias)};
  return {Linear(b, prefix + ".q", o.hidden, q, o.qkv_bias),
          Linear(b, prefix + ".k", o.hidden, kv, o.qkv_bias),
          Linear(b, prefix + ".v", o.hidden, kv, o.qkv_bias)};
}

}  // namespace

Attention::Attention(Builder& b, const std::string& prefix, const AttentionOptions& o)
    : prefix_(prefix),
      options_(o),
      qkv_(projections(b, prefix, o)),
      dense_(b, prefix + ".dense", o.op.heads * o.op.head_dim, o.hidden, o.dense_bias) {
  if (!o.op.qk_norm) return;
  for (const char* which : {".q_layernorm", ".k_layernorm"})
    qk_norms_.emplace_back(b, prefix + which, o.op.head_dim, o.op.qk_norm_eps);
}

std::vector<Tensor> Attention::project(Tensor x) const {
  if (qkv_.size() == 3) return {qkv_[0](x), qkv_[1](x), qkv_[2](x)};
  const int64_t q = options_.op.heads * options_.op.head_dim;
  const int64_t kv = options_.op.kv_heads * options_.op.head_dim;
  const Tensor joined = qkv_[0](x);
  return {slice(joined, 0, q), slice(joined, q, q + kv), slice(joined, q + kv, q + 2 * kv)};
}

// [tokens, heads * head_dim]: the norm sees each head as a row.
Tensor Attention::norm_heads(const RmsNorm& norm, Tensor x) const {
  return reshape(norm(reshape(x, {0, -1, options_.op.head_dim})), {0, -1});
}

Tensor Attention::operator()(Tensor x, Tensor positions) const {
  const Builder::Scope scope(*x.builder, Builder::Absolute{prefix_});
  std::vector<Tensor> qkv = project(x);
  AttentionAttrs attrs = options_.op;
  if (attrs.qk_norm) {
    for (int i : {0, 1}) qkv[i] = norm_heads(qk_norms_[i], qkv[i]);
    attrs.qk_norm = false;
  }
  if (attrs.has_rope) {
    for (int i : {0, 1}) qkv[i] = rope(qkv[i], positions, attrs.rope);
    attrs.has_rope = false;
  }
  return dense_(attention(qkv[0], qkv[1], qkv[2], positions, attrs));
}

}  // namespace tokamak::nn
