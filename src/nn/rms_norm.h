// RMS norm over rows: x / sqrt(mean(x²) + eps) * weight. Weight: prefix.weight [n].
#pragma once
#include "nn/functional.h"

namespace tokamak::nn {

class RmsNorm {
 public:
  RmsNorm(Builder& builder, std::string prefix, int64_t n, double eps)
      : prefix_(std::move(prefix)), weight_(builder.weight(prefix_ + ".weight", {n})), eps_(eps) {}

  Tensor operator()(Tensor x) const {
    const Builder::Scope scope(*x.builder, Builder::Absolute{prefix_});
    return x.builder->node(Op::rms_norm, Attrs().set("eps", eps_), {x, weight_}, "");
  }

 private:
  std::string prefix_;
  Tensor weight_;
  double eps_;
};

}  // namespace tokamak::nn
