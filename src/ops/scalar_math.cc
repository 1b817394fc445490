#include "ops/scalar_math.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.h"

namespace tokamak {

double apply_unary(std::string_view kind, double x) {
  if (kind == "neg") return -x;
  if (kind == "abs") return std::fabs(x);
  if (kind == "exp") return std::exp(x);
  if (kind == "log") return std::log(x);
  if (kind == "sqrt") return std::sqrt(x);
  if (kind == "rsqrt") return 1 / std::sqrt(x);
  if (kind == "square") return x * x;
  if (kind == "tanh") return std::tanh(x);
  if (kind == "erf") return std::erf(x);
  if (kind == "sigmoid") return 1 / (1 + std::exp(-x));
  if (kind == "silu") return x / (1 + std::exp(-x));
  if (kind == "gelu") return 0.5 * x * (1 + std::erf(x / std::numbers::sqrt2));
  if (kind == "gelu_tanh")
    return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x)));
  if (kind == "relu") return std::max(x, 0.0);
  fail("unknown unary kind '{}'", kind);
}

double apply_binary(std::string_view kind, double a, double b) {
  if (kind == "add") return a + b;
  if (kind == "sub") return a - b;
  if (kind == "mul") return a * b;
  if (kind == "div") return a / b;
  if (kind == "pow") return std::pow(a, b);
  if (kind == "max") return std::max(a, b);
  if (kind == "min") return std::min(a, b);
  fail("unknown binary kind '{}'", kind);
}

}  // namespace tokamak
