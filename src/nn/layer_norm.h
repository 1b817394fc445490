// Layer norm over rows: (x - mean) / sqrt(var + eps) * weight + bias. Weights: prefix.weight [n],
// prefix.bias [n] where the checkpoint has one.
#pragma once
#include "nn/functional.h"

namespace tokamak::nn {

class LayerNorm {
 public:
  LayerNorm(Builder& builder, std::string prefix, int64_t n, double eps)
      : prefix_(std::move(prefix)), weight_(builder.weight(prefix_ + ".weight", {n})), eps_(eps) {
    if (builder.has_weight(prefix_ + ".bias")) bias_ = builder.weight(prefix_ + ".bias", {n});
  }

  Tensor operator()(Tensor x) const {
    const Builder::Scope scope(*x.builder, Builder::Absolute{prefix_});
    std::vector<Tensor> inputs = {x, weight_};
    if (bias_) inputs.push_back(*bias_);
    return x.builder->node(Op::layer_norm, Attrs().set("eps", eps_), inputs, "");
  }

 private:
  std::string prefix_;
  Tensor weight_;
  std::optional<Tensor> bias_;
  double eps_;
};

}  // namespace tokamak::nn
