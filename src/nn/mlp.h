// Gated MLP: proj(activation(fc(x)) * gate(x)), or another gate. Weights: prefix.{fc,gate,proj}.
// Plain: proj(activation(fc(x))). Weights: prefix.{fc,proj}.
#pragma once
#include "nn/linear.h"

namespace tokamak::nn {

// What stands between the linears: of fc's and gate's results.
using Gate = std::function<Tensor(Tensor, Tensor)>;
inline Gate activation_gate(Activation activation) {
  return [activation](Tensor a, Tensor b) { return activate(a, activation) * b; };
}

class GatedMlp {
 public:
  GatedMlp(Builder& b, const std::string& prefix, int64_t hidden, int64_t intermediate, Gate gate,
           bool bias)
      : prefix_(prefix),
        fc_(b, prefix + ".fc", hidden, intermediate, bias),
        gate_(b, prefix + ".gate", hidden, intermediate, bias),
        proj_(b, prefix + ".proj", intermediate, hidden, bias),
        gate_op_(std::move(gate)) {}

  Tensor operator()(Tensor x) const {
    const Builder::Scope scope(*x.builder, Builder::Absolute{prefix_});
    const Tensor a = fc_(x);
    return proj_(gate_op_(a, gate_(x)));
  }

 private:
  std::string prefix_;
  Linear fc_, gate_, proj_;
  Gate gate_op_;
};

class Mlp {
 public:
  Mlp(Builder& b, const std::string& prefix, int64_t hidden, int64_t intermediate,
      Activation activation, bool bias)
      : prefix_(prefix),
        fc_(b, prefix + ".fc", hidden, intermediate, bias),
        proj_(b, prefix + ".proj", intermediate, hidden, bias),
        activation_(activation) {}

  Tensor operator()(Tensor x) const {
    const Builder::Scope scope(*x.builder, Builder::Absolute{prefix_});
    return proj_(activate(fc_(x), activation_));
  }

 private:
  std::string prefix_;
  Linear fc_, proj_;
  Activation activation_;
};

}  // namespace tokamak::nn
