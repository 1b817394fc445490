// y = x · weightᵀ + bias. Weights: prefix.weight [out, in], prefix.bias [out].
#pragma once
#include "nn/functional.h"
#include "ops/linear.h"

namespace tokamak::nn {

class Linear {
 public:
  Linear(Builder& builder, std::string prefix, int64_t in, int64_t out, bool bias)
      : prefix_(std::move(prefix)), weight_(builder.weight(prefix_ + ".weight", {out, in})) {
    if (bias) bias_ = builder.weight(prefix_ + ".bias", {out});
  }
  // With a weight that something else owns: a tied head.
  Linear(std::string prefix, Tensor weight) : prefix_(std::move(prefix)), weight_(weight) {}

  Tensor operator()(Tensor x) const {
    LinearAttrs attrs{.has_bias = bias_.has_value()};
    std::vector<Tensor> inputs = {x, weight_};
    if (bias_) inputs.push_back(*bias_);
    const Builder::Scope scope(*x.builder, Builder::Absolute{prefix_});
    return x.builder->node(Op::linear, attrs.to_attrs(), inputs, "");
  }

 private:
  std::string prefix_;
  Tensor weight_;
  std::optional<Tensor> bias_;
};

}  // namespace tokamak::nn
