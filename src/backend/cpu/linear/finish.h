// What follows the sums of a linear tile: bias, activation, gate, residual, store.
#pragma once
#include <cmath>

#include "backend/cpu/linear/tile.h"
#include "backend/cpu/simd/simd16.h"

namespace tokamak {
namespace {

using simd::F16x;

// x * erfc(-x / sqrt 2) / 2: keeps the tail that 1 + erf loses.
TOKAMAK_INLINE F16x gelu_exact(F16x x) {
  alignas(64) float v[16];
  simd::store(v, simd::mul(x, simd::set1(-0.70710678f)));
  for (float& f : v) f = ::erfcf(f);
  return simd::mul(simd::mul(x, simd::set1(0.5f)), simd::load(v));
}

// (1 + tanh u) / 2 is sigmoid(2u).
TOKAMAK_INLINE F16x gelu_tanh(F16x x) {
  const F16x cube = simd::mul(simd::mul(x, x), simd::mul(x, simd::set1(0.044715f)));
  return simd::mul(x, simd::sigmoid(simd::mul(simd::set1(1.59576912f), simd::add(x, cube))));
}

TOKAMAK_INLINE F16x activate(Activation a, F16x x) {
  switch (a) {
    case Activation::silu:
      return simd::mul(x, simd::sigmoid(x));
    case Activation::gelu:
      return gelu_exact(x);
    case Activation::gelu_tanh:
      return gelu_tanh(x);
    case Activation::relu:
      return simd::max(simd::zero(), x);
    case Activation::sigmoid:
      return simd::sigmoid(x);
    case Activation::tanh:
      return simd::tanh(x);
    case Activation::none:
      break;
  }
  return x;
}

TOKAMAK_INLINE F16x load_bias(DType t, const std::byte* p, int columns) {
  if (p == nullptr) return simd::zero();
  if (t == DType::f32) return simd::load_n(reinterpret_cast<const float*>(p), columns);
  alignas(64) uint16_t v[16] = {};
  for (int i = 0; i < columns; ++i) v[i] = reinterpret_cast<const uint16_t*>(p)[i];
  return t == DType::bf16 ? simd::load_bf16(v) : simd::load_f16(v);
}

template <bool kFull>
TOKAMAK_INLINE void finish_columns(const LinearFinish& f, const float* acc_a, const float* acc_b,
                                   int tokens, int columns) {
  const F16x bias_a = load_bias(f.bias_dtype, f.bias_a, columns);
  const F16x bias_b = load_bias(f.bias_dtype, f.bias_b, columns);
  for (int t = 0; t < tokens; ++t) {
    F16x y = simd::load(acc_a + t * 16);
    if (f.bias_a != nullptr) y = simd::add(y, bias_a);
    y = activate(f.activation, y);
    if (f.glu) {
      F16x b = simd::load(acc_b + t * 16);
      if (f.bias_b != nullptr) b = simd::add(b, bias_b);
      y = simd::mul(y, b);
    }
    if (f.residual != nullptr) {
      const float* r = f.residual + t * f.residual_stride;
      y = simd::add(y, kFull ? simd::load(r) : simd::load_n(r, columns));
    }
    float* out = f.out + t * f.out_stride;
    if (kFull)
      simd::store(out, y);
    else
      simd::store_n(out, y, columns);
  }
}

[[maybe_unused]] void finish(const LinearFinish& f, const float* acc_a, const float* acc_b,
                             int tokens, int columns) {
  if (columns == 16)
    finish_columns<true>(f, acc_a, acc_b, tokens, columns);
  else
    finish_columns<false>(f, acc_a, acc_b, tokens, columns);
}

}  // namespace
}  // namespace tokamak
