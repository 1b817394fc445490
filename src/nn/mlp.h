// Gated MLP: proj(activation(fc(x)) * gate(x)). Weights: prefix.{fc,gate,proj}.
#pragma once
#include "nn/linear.h"

namespace tokamak::nn {

class GatedMlp {
 public:
  GatedMlp(Builder& b, const std::string& prefix, int64_t hidden, int64_t intermediate,
           Activation activation, bool bias)
      : prefix_(prefix),
        fc_(b, prefix + ".fc", hidden, intermediate, bias),
        gate_(b, prefix + ".gate", hidden, intermediate, bias),
        proj_(b, prefix + ".proj", intermediate, hidden, bias),
        activation_(activation) {}

  Tensor operator()(Tensor x) const {
    const Builder::Scope scope(*x.builder, Builder::Absolute{prefix_});
    return proj_(activate(fc_(x), activation_) * gate_(x));
  }

 private:
  std::string prefix_;
  Linear fc_, gate_, proj_;
  Activation activation_;
};

}  // namespace tokamak::nn
