// The one source of the light kernels; light_avx2.cc and light_avx512.cc compile it.
#pragma once
#include <cmath>

#include "backend/cpu/light/light_kernels.h"
#include "backend/cpu/simd/math.h"
#include "base/half.h"

namespace tokamak {
namespace {
namespace light {

using simd::F16x;

struct Neg {
  TOKAMAK_INLINE static F16x of(F16x x) { return simd::mul(x, simd::set1(-1.0f)); }
};
struct Abs {
  TOKAMAK_INLINE static F16x of(F16x x) { return simd::abs(x); }
};
struct Exp {
  TOKAMAK_INLINE static F16x of(F16x x) { return simd::exp(x); }
};
struct Sqrt {
  TOKAMAK_INLINE static F16x of(F16x x) { return simd::sqrt(x); }
};
struct Rsqrt {
  TOKAMAK_INLINE static F16x of(F16x x) { return simd::div(simd::set1(1.0f), simd::sqrt(x)); }
};
struct Square {
  TOKAMAK_INLINE static F16x of(F16x x) { return simd::mul(x, x); }
};
struct Tanh {
  TOKAMAK_INLINE static F16x of(F16x x) { return simd::tanh(x); }
};
struct Erf {
  TOKAMAK_INLINE static F16x of(F16x x) { return simd::erf(x); }
};
struct Sigmoid {
  TOKAMAK_INLINE static F16x of(F16x x) { return simd::sigmoid(x); }
};
struct Silu {
  TOKAMAK_INLINE static F16x of(F16x x) { return simd::silu(x); }
};
struct Gelu {
  TOKAMAK_INLINE static F16x of(F16x x) { return simd::gelu(x); }
};
struct GeluTanh {
  TOKAMAK_INLINE static F16x of(F16x x) { return simd::gelu_tanh(x); }
};
struct Relu {
  TOKAMAK_INLINE static F16x of(F16x x) { return simd::relu(x); }
};
struct Log {
  TOKAMAK_INLINE static F16x of(F16x x) { return simd::log(x); }
};
struct None {
  TOKAMAK_INLINE static F16x of(F16x x) { return x; }
};

struct Add {
  TOKAMAK_INLINE static F16x of(F16x a, F16x b) { return simd::add(a, b); }
};
struct Sub {
  TOKAMAK_INLINE static F16x of(F16x a, F16x b) { return simd::sub(a, b); }
};
struct Mul {
  TOKAMAK_INLINE static F16x of(F16x a, F16x b) { return simd::mul(a, b); }
};
struct Div {
  TOKAMAK_INLINE static F16x of(F16x a, F16x b) { return simd::div(a, b); }
};
struct Max {
  TOKAMAK_INLINE static F16x of(F16x a, F16x b) { return simd::max_nan(a, b); }
};
struct Min {
  TOKAMAK_INLINE static F16x of(F16x a, F16x b) { return simd::min_nan(a, b); }
};

struct Pow {  // the library's, one by one
  TOKAMAK_INLINE static F16x of(F16x a, F16x b) {
    float x[16], y[16];
    simd::store(x, a);
    simd::store(y, b);
    for (int i = 0; i < 16; ++i) x[i] = __builtin_powf(x[i], y[i]);
    return simd::load(x);
  }
};

// Loads and stores of up to sixteen: `left` >= 16 takes the full vector.
TOKAMAK_INLINE F16x load_up_to(const float* p, int64_t left) {
  return left >= 16 ? simd::load(p) : simd::load_n(p, static_cast<int>(left));
}
TOKAMAK_INLINE void store_up_to(float* p, F16x v, int64_t left) {
  if (left >= 16)
    simd::store(p, v);
  else
    simd::store_n(p, v, static_cast<int>(left));
}

template <typename F>
void map(const float* x, float* y, int64_t n) {
  for (int64_t i = 0; i < n; i += 16) store_up_to(y + i, F::of(load_up_to(x + i, n - i)), n - i);
}

void softcap(const float* x, float* y, int64_t n, float cap) {
  const F16x c = simd::set1(cap);
  for (int64_t i = 0; i < n; i += 16)
    store_up_to(y + i, simd::mul(c, simd::tanh(simd::div(load_up_to(x + i, n - i), c))), n - i);
}

template <typename F>
void pair(const float* a, int a_step, const float* b, int b_step, float* y, int64_t n) {
  const F16x a0 = simd::set1(*a), b0 = simd::set1(*b);
  for (int64_t i = 0; i < n; i += 16) {
    const F16x va = a_step ? load_up_to(a + i, n - i) : a0;
    const F16x vb = b_step ? load_up_to(b + i, n - i) : b0;
    store_up_to(y + i, F::of(va, vb), n - i);
  }
}

template <typename F>
void glu(const float* a, const float* b, float* y, int64_t n) {
  for (int64_t i = 0; i < n; i += 16)
    store_up_to(y + i, simd::mul(F::of(load_up_to(a + i, n - i)), load_up_to(b + i, n - i)), n - i);
}

float sum(const float* x, int64_t n) {
  F16x acc[2] = {simd::zero(), simd::zero()};
  for (int64_t i = 0; i < n; i += 16)
    acc[i / 16 & 1] = simd::add(acc[i / 16 & 1], load_up_to(x + i, n - i));
  return simd::sum(simd::add(acc[0], acc[1]));
}

// Sum of (x - mean)^2.
float sum_of_squares(const float* x, int64_t n, float mean) {
  F16x acc[2] = {simd::zero(), simd::zero()};
  const F16x m = simd::set1(mean);
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
    const F16x d = simd::sub(simd::load(x + i), m);
    acc[i / 16 & 1] = simd::fma(d, d, acc[i / 16 & 1]);
  }
  float total = simd::sum(simd::add(acc[0], acc[1]));
  for (; i < n; ++i) total += (x[i] - mean) * (x[i] - mean);
  return total;
}

void norm(const NormArgs& a) {
  const float* x = a.x;
  if (a.residual != nullptr) {
    for (int64_t i = 0; i < a.n; i += 16)
      store_up_to(a.sum + i,
                  simd::add(load_up_to(a.x + i, a.n - i), load_up_to(a.residual + i, a.n - i)),
                  a.n - i);
    x = a.sum;
  }
  const float count = static_cast<float>(a.n);
  const float mean = a.centers ? sum(x, a.n) / count : 0.0f;
  const float scale = 1.0f / std::sqrt(sum_of_squares(x, a.n, mean) / count + a.eps);
  const F16x m = simd::set1(mean), s = simd::set1(scale);
  for (int64_t i = 0; i < a.n; i += 16) {
    F16x v = simd::mul(simd::sub(load_up_to(x + i, a.n - i), m), s);
    v = simd::mul(v, load_up_to(a.weight + i, a.n - i));
    if (a.bias != nullptr) v = simd::add(v, load_up_to(a.bias + i, a.n - i));
    store_up_to(a.y + i, v, a.n - i);
  }
}

// NaN when any element is.
float max(const float* x, int64_t n) {
  F16x best = simd::set1(x[0]);
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
    const F16x v = simd::load(x + i);
    if (simd::any_nan(v)) return NAN;
    best = simd::max(v, best);
  }
  float m = simd::max_of(best);
  for (; i < n; ++i) m = x[i] > m || x[i] != x[i] ? x[i] : m;
  return m;
}

void softmax(const float* x, float* y, int64_t n) {
  const F16x top = simd::set1(max(x, n));
  float total = 0;
  F16x acc = simd::zero();
  for (int64_t i = 0; i < n; i += 16) {
    const F16x e = simd::exp(simd::sub(load_up_to(x + i, n - i), top));
    store_up_to(y + i, e, n - i);
    if (n - i >= 16)
      acc = simd::add(acc, e);
    else
      for (int64_t j = i; j < n; ++j) total += y[j];
  }
  const F16x inverse = simd::set1(1.0f / (total + simd::sum(acc)));
  for (int64_t i = 0; i < n; i += 16)
    store_up_to(y + i, simd::mul(load_up_to(y + i, n - i), inverse), n - i);
}

void scale(float* x, int64_t n, float factor) {
  const F16x f = simd::set1(factor);
  for (int64_t i = 0; i < n; i += 16)
    store_up_to(x + i, simd::mul(load_up_to(x + i, n - i), f), n - i);
}

void turn_halves(const float* x, float* y, int64_t half, const float* cos, const float* sin) {
  for (int64_t i = 0; i < half; i += 16) {
    const F16x a = load_up_to(x + i, half - i), b = load_up_to(x + half + i, half - i);
    const F16x c = load_up_to(cos + i, half - i), s = load_up_to(sin + i, half - i);
    store_up_to(y + i, simd::sub(simd::mul(a, c), simd::mul(b, s)), half - i);
    store_up_to(y + half + i, simd::fma(b, c, simd::mul(a, s)), half - i);
  }
}

void rope(const float* x, float* y, int64_t heads, int64_t head_dim, int64_t rotary_dim, bool neox,
          const float* cos, const float* sin) {
  const int64_t half = rotary_dim / 2;
  for (int64_t h = 0; h < heads; ++h, x += head_dim, y += head_dim) {
    if (neox) turn_halves(x, y, half, cos, sin);
    for (int64_t i = 0; i < half && !neox; ++i) {
      const float a = x[2 * i], b = x[2 * i + 1];
      y[2 * i] = a * cos[i] - b * sin[i];
      y[2 * i + 1] = b * cos[i] + a * sin[i];
    }
    for (int64_t i = rotary_dim; i < head_dim; ++i) y[i] = x[i];
  }
}

void widen_f16(const void* x, float* y, int64_t n) {
  const auto* p = static_cast<const uint16_t*>(x);
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) simd::store(y + i, simd::load_f16(p + i));
  for (; i < n; ++i) y[i] = f16_to_f32(p[i]);
}

void widen_bf16(const void* x, float* y, int64_t n) {
  const auto* p = static_cast<const uint16_t*>(x);
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) simd::store(y + i, simd::load_bf16(p + i));
  for (; i < n; ++i) y[i] = bf16_to_f32(p[i]);
}

void narrow_f16(const float* x, void* y, int64_t n) {
  auto* p = static_cast<uint16_t*>(y);
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) simd::store_f16(p + i, simd::load(x + i));
  for (; i < n; ++i) p[i] = f32_to_f16(x[i]);
}

void narrow_bf16(const float* x, void* y, int64_t n) {
  auto* p = static_cast<uint16_t*>(y);
  for (int64_t i = 0; i < n; ++i) p[i] = f32_to_bf16(x[i]);
}

void round_f16(const float* x, float* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = f16_to_f32(f32_to_f16(x[i]));
}

void round_bf16(const float* x, float* y, int64_t n) {
  for (int64_t i = 0; i < n; i += 16)
    store_up_to(y + i, simd::round_bf16(load_up_to(x + i, n - i)), n - i);
}

constexpr LightKernels kKernels = {
    {map<Neg>, map<Abs>, map<Exp>, map<Sqrt>, map<Rsqrt>, map<Square>, map<Tanh>, map<Erf>,
     map<Sigmoid>, map<Silu>, map<Gelu>, map<GeluTanh>, map<Relu>, map<Log>, map<None>},
    softcap,
    {pair<Add>, pair<Sub>, pair<Mul>, pair<Div>, pair<Max>, pair<Min>, pair<Pow>},
    {glu<Neg>, glu<Abs>, glu<Exp>, glu<Sqrt>, glu<Rsqrt>, glu<Square>, glu<Tanh>, glu<Erf>,
     glu<Sigmoid>, glu<Silu>, glu<Gelu>, glu<GeluTanh>, glu<Relu>, glu<Log>, glu<None>},
    norm,
    softmax,
    sum,
    max,
    scale,
    rope,
    widen_f16,
    widen_bf16,
    narrow_f16,
    narrow_bf16,
    round_f16,
    round_bf16,
};

}  // namespace light
}  // namespace
}  // namespace tokamak
