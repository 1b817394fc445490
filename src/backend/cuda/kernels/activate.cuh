// Activations and the other maps of one number.
#pragma once
#include "backend/cuda/kernels/reference.h"

namespace tokamak::cuda {

__device__ inline float sigmoid(float x) {
  return x >= 0 ? 1 / (1 + expf(-x)) : expf(x) / (1 + expf(x));
}
// In few instructions, for kernels that multiply; 1e-6 of the value off at most.
__device__ inline float quick_silu(float x) { return __fdividef(x, 1 + __expf(-x)); }
__device__ inline float quick_gelu_tanh(float x) {  // x (1 + tanh(u)) / 2 = x / (1 + exp(-2u))
  return __fdividef(x, 1 + __expf(-1.5957691216057308f * (x + 0.044715f * x * x * x)));
}
__device__ inline float apply(MapKind kind, float x, float cap = 0) {
  switch (kind) {
    case MapKind::neg: return -x;
    case MapKind::abs: return fabsf(x);
    case MapKind::exp: return expf(x);
    case MapKind::log: return logf(x);
    case MapKind::sqrt: return sqrtf(x);
    case MapKind::rsqrt: return 1 / sqrtf(x);
    case MapKind::square: return x * x;
    case MapKind::tanh: return tanhf(x);
    case MapKind::erf: return erff(x);
    case MapKind::sigmoid: return sigmoid(x);
    case MapKind::silu: return x * sigmoid(x);
    case MapKind::gelu: return 0.5f * x * erfcf(-x * 0.70710678118654752f);
    case MapKind::gelu_tanh: {
      const float inner = 0.79788456080286536f * (x + 0.044715f * x * x * x);
      return 0.5f * x * (1 + tanhf(inner));
    }
    case MapKind::relu: return x < 0 ? 0 : x;  // NaN stays
    case MapKind::softcap: return cap > 0 ? cap * tanhf(x / cap) : x;
    case MapKind::copy: break;
  }
  return x;
}
// max and min hand on a NaN of either side.
__device__ inline float apply(PairKind kind, float a, float b) {
  switch (kind) {
    case PairKind::add: return a + b;
    case PairKind::sub: return a - b;
    case PairKind::mul: return a * b;
    case PairKind::div: return a / b;
    case PairKind::pow: return powf(a, b);
    case PairKind::max: return a > b || isnan(a) ? a : b;
    case PairKind::min: break;
  }
  return a < b || isnan(a) ? a : b;
}

}  // namespace tokamak::cuda
