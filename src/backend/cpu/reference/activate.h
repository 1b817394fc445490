// Activations in double precision.
#pragma once
#include <cmath>
#include <numbers>

#include "ops/activation.h"

namespace tokamak {

inline double sigmoid_ref(double x) {
  return x >= 0 ? 1 / (1 + std::exp(-x)) : std::exp(x) / (1 + std::exp(x));
}
inline double gelu_ref(double x) { return 0.5 * x * std::erfc(-x / std::numbers::sqrt2); }
inline double gelu_tanh_ref(double x) {
  const double inner = std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x);
  return 0.5 * x * (1 + std::tanh(inner));
}
inline double relu_ref(double x) { return x < 0 ? 0 : x; }  // NaN stays

inline double activate(Activation a, double x) {
  switch (a) {
    case Activation::none:
      return x;
    case Activation::silu:
      return x * sigmoid_ref(x);
    case Activation::gelu:
      return gelu_ref(x);
    case Activation::gelu_tanh:
      return gelu_tanh_ref(x);
    case Activation::relu:
      return relu_ref(x);
    case Activation::sigmoid:
      return sigmoid_ref(x);
    case Activation::tanh:
      return std::tanh(x);
  }
  return x;
}

}  // namespace tokamak
