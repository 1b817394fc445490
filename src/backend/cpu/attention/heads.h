// Heads of q, k and v on their way: angles, norm and rotation, and conversion to and from the
// cache's dtype.
#pragma once
#include <cmath>

#include "backend/cpu/attention/tile.h"
#include "backend/cpu/simd/simd16.h"
#include "base/f8.h"
#include "base/half.h"

namespace tokamak {
namespace {

using simd::F16x;

TOKAMAK_INLINE F16x load_some(const float* p, int64_t n) {
  return n >= 16 ? simd::load(p) : simd::load_n(p, static_cast<int>(n));
}
TOKAMAK_INLINE void store_some(float* p, F16x v, int64_t n) {
  if (n >= 16)
    simd::store(p, v);
  else
    simd::store_n(p, v, static_cast<int>(n));
}

void angles(const float* inv_freq, int64_t n, float position, float magnitude, float* cos,
            float* sin) {
  const F16x p = simd::set1(position), m = simd::set1(magnitude);
  for (int64_t i = 0; i < n; i += 16) {
    F16x c, s;
    simd::cos_sin(simd::mul(p, load_some(inv_freq + i, n - i)), c, s);
    store_some(cos + i, simd::mul(c, m), n - i);
    store_some(sin + i, simd::mul(s, m), n - i);
  }
}

TOKAMAK_INLINE void rotate_neox(float* x, int64_t half, const float* cos, const float* sin) {
  for (int64_t i = 0; i < half; i += 16) {
    const int64_t n = half - i;
    const F16x c = load_some(cos + i, n), s = load_some(sin + i, n);
    const F16x a = load_some(x + i, n), b = load_some(x + half + i, n);
    store_some(x + i, simd::sub(simd::mul(a, c), simd::mul(b, s)), n);
    store_some(x + half + i, simd::fma(b, c, simd::mul(a, s)), n);
  }
}

TOKAMAK_INLINE void rotate_pairs(float* x, int64_t half, const float* cos, const float* sin) {
  for (int64_t i = 0; i < half; ++i) {
    const float a = x[2 * i], b = x[2 * i + 1];
    x[2 * i] = a * cos[i] - b * sin[i];
    x[2 * i + 1] = b * cos[i] + a * sin[i];
  }
}

// Two heads' worth of work in registers is not needed: a head is at most sixteen vectors.
void prepare_head(const HeadForm& form, const float* x, const float* norm_weight, const float* cos,
                  const float* sin, float* out) {
  const int64_t n = form.head_dim;
  F16x square = simd::zero();
  for (int64_t i = 0; i < n; i += 16) {
    const F16x v = load_some(x + i, n - i);
    store_some(out + i, v, n - i);
    square = simd::fma(v, v, square);
  }
  if (form.norm) {
    const F16x r = simd::set1(1.0f / ::sqrtf(simd::sum(square) / static_cast<float>(n) + form.eps));
    for (int64_t i = 0; i < n; i += 16) {
      const F16x w = load_some(norm_weight + i, n - i);
      store_some(out + i, simd::mul(simd::mul(load_some(out + i, n - i), r), w), n - i);
    }
  }
  if (cos != nullptr) {
    if (form.neox)
      rotate_neox(out, form.rotary_dim / 2, cos, sin);
    else
      rotate_pairs(out, form.rotary_dim / 2, cos, sin);
  }
  if (form.scale != 1)
    for (int64_t i = 0; i < n; i += 16)
      store_some(out + i, simd::mul(load_some(out + i, n - i), simd::set1(form.scale)), n - i);
}

// An f16 scale and n codes; the largest magnitude becomes code 127 of the scale as f16 has it.
void narrow_int8(const float* x, int64_t n, std::byte* out) {
  F16x top = simd::zero();
  for (int64_t i = 0; i < n; i += 16) top = simd::max(simd::abs(load_some(x + i, n - i)), top);
  const float largest = simd::max_of(top) / 127;
  const uint16_t half = f32_to_f16(largest < 65504.0f ? largest : 65504.0f);
  const float scale = f16_to_f32(half);
  __builtin_memcpy(out, &half, 2);
  const F16x inverse = simd::set1(scale > 0 ? 1 / scale : 0), most = simd::set1(127);
  for (int64_t i = 0; i < n; i += 16) {
    const F16x q = simd::mul(load_some(x + i, n - i), inverse);
    const simd::I16x codes =
        simd::to_int(simd::max(simd::min(q, most), simd::sub(simd::zero(), most)));
    if (n - i >= 16) {
      simd::store_i8(out + 2 + i, codes);
    } else {
      std::byte part[16];
      simd::store_i8(part, codes);
      __builtin_memcpy(out + 2 + i, part, static_cast<size_t>(n - i));
    }
  }
}

void narrow(DType t, const float* x, int64_t n, std::byte* out) {
  int64_t i = 0;
  if (t == DType::int8_row) return narrow_int8(x, n, out);
  if (t == DType::f32) {
    for (; i < n; i += 16)
      store_some(reinterpret_cast<float*>(out) + i, load_some(x + i, n - i), n - i);
    return;
  }
  if (t == DType::f8e4m3) {
    for (; i < n; ++i) out[i] = std::byte{f32_to_f8e4m3(x[i])};
    return;
  }
  auto* h = reinterpret_cast<uint16_t*>(out);
  if (t == DType::f16) {
    for (; i + 16 <= n; i += 16) simd::store_f16(h + i, simd::load(x + i));
    for (; i < n; ++i) h[i] = f32_to_f16(x[i]);
  } else {
    for (; i < n; ++i) h[i] = f32_to_bf16(x[i]);
  }
}

template <DType T>
constexpr int64_t kCachedBytes = T == DType::f32      ? 4
                                 : T == DType::f8e4m3 ? 1
                                                      : 2;

template <DType T>
TOKAMAK_INLINE F16x widen_sixteen(const std::byte* p, int64_t n) {
  if constexpr (T == DType::f32) {
    return load_some(reinterpret_cast<const float*>(p), n);
  } else if constexpr (T == DType::f8e4m3) {
    std::byte part[16] = {};
    if (n < 16) {
      __builtin_memcpy(part, p, static_cast<size_t>(n));
      p = part;
    }
    return simd::mul(simd::load_f8(p), simd::set1(256));
  } else {
    uint16_t part[16] = {};
    if (n < 16) {
      for (int64_t i = 0; i < n; ++i) part[i] = reinterpret_cast<const uint16_t*>(p)[i];
      p = reinterpret_cast<const std::byte*>(part);
    }
    return T == DType::f16 ? simd::load_f16(p) : simd::load_bf16(p);
  }
}

template <DType T>
void widen_rows(const std::byte* x, int64_t rows, int64_t n, float* out, int64_t ld) {
  constexpr int64_t kSize = kCachedBytes<T>;
  for (int64_t r = 0; r < rows; ++r, x += n * kSize, out += ld)
    for (int64_t i = 0; i < n; i += 16)
      simd::store(out + i, widen_sixteen<T>(x + i * kSize, n - i));
}

void widen_int8(const std::byte* x, int64_t rows, int64_t n, float* out, int64_t ld) {
  for (int64_t r = 0; r < rows; ++r, x += 2 + n, out += ld) {
    uint16_t half;
    __builtin_memcpy(&half, x, 2);
    const F16x scale = simd::set1(f16_to_f32(half));
    for (int64_t i = 0; i < n; i += 16) {
      std::byte part[16] = {};
      const std::byte* codes = x + 2 + i;
      if (n - i < 16) {
        __builtin_memcpy(part, codes, static_cast<size_t>(n - i));
        codes = part;
      }
      simd::store(out + i, simd::mul(simd::load_i8(codes), scale));
    }
  }
}

void widen(DType t, const std::byte* x, int64_t rows, int64_t n, float* out, int64_t ld) {
  if (t == DType::int8_row)
    widen_int8(x, rows, n, out, ld);
  else if (t == DType::f32)
    widen_rows<DType::f32>(x, rows, n, out, ld);
  else if (t == DType::f16)
    widen_rows<DType::f16>(x, rows, n, out, ld);
  else if (t == DType::f8e4m3)
    widen_rows<DType::f8e4m3>(x, rows, n, out, ld);
  else
    widen_rows<DType::bf16>(x, rows, n, out, ld);
}

void scale(const float* acc, float factor, int64_t n, float* out) {
  for (int64_t i = 0; i < n; i += 16)
    store_some(out + i, simd::mul(load_some(acc + i, n - i), simd::set1(factor)), n - i);
}

}  // namespace
}  // namespace tokamak
