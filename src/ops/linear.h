// linear: x [tokens, k], weight [n, k], then bias [n] if has_bias, then residual [tokens, n] if
// has_residual → [tokens, n]:  y = activation(x · weightᵀ + bias) + residual.
// float32: y is float32 also where x has 16 bits (logits, sums of a residual stream); linear only.
// linear_glu: x, weight_a [n, k], weight_b [n, k] (then bias_a, bias_b if has_bias) →
// [tokens, n]:  y = activation(x · weight_aᵀ) * (x · weight_bᵀ).
// Weights may be of any float or block format; the arithmetic is at least float32 accumulation.
// activation_bits 8 allows tactics to round activations to int8 (per token, or per 32 inputs where
// the weight's groups need it: faster, costs accuracy), for f8_row weights to f8e4m3, per token or,
// where x_scale is given, to codes of x / x_scale that saturate at 448 (tactics that keep more of
// the activations need no scale and take none);
// otherwise they keep bfloat16 for bfloat16 and quantized weights on AMX, 15 bits or more
// elsewhere. deterministic: a token's result does not depend on the other tokens of the step, on
// their number, or on the number of workers.
#pragma once
#include "ops/activation.h"
#include "ops/attrs.h"

namespace tokamak {

struct LinearAttrs {
  Activation activation = Activation::none;
  bool has_bias = false;
  bool has_residual = false;
  int64_t activation_bits = 16;  // 16 or 8
  bool deterministic = false;
  bool float32 = false;
  double x_scale = 0;  // static, of all tokens; 0: per token

  static LinearAttrs from(const Attrs& a) {
    return {parse_activation(a.get_or<std::string>("activation", "none")),
            a.get_or<bool>("has_bias", false),
            a.get_or<bool>("has_residual", false),
            a.get_or<int64_t>("activation_bits", 16),
            a.get_or<bool>("deterministic", false),
            a.get_or<bool>("float32", false),
            a.get_or<double>("x_scale", 0.0)};
  }
  Attrs to_attrs() const {
    Attrs a;
    if (activation != Activation::none) a.set("activation", std::string(name(activation)));
    if (has_bias) a.set("has_bias", true);
    if (has_residual) a.set("has_residual", true);
    if (activation_bits != 16) a.set("activation_bits", activation_bits);
    if (deterministic) a.set("deterministic", true);
    if (float32) a.set("float32", true);
    if (x_scale != 0) a.set("x_scale", x_scale);
    return a;
  }
};

}  // namespace tokamak
