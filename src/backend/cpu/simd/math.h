// Activations over sixteen lanes, on top of simd16.h's exp, sigmoid and tanh. NaN stays NaN.
// Largest errors, measured by tests/ops/vector_math_test.cc, in units in the last place: exp 2,
// tanh 3, erf 2, sigmoid 4, log 2.
#pragma once
#include "backend/cpu/simd/simd16.h"

namespace tokamak {
namespace {
namespace simd {

// erf: near 0 an odd polynomial, fitted at Chebyshev nodes to erf(x)/x - 1; else 1 - exp(P(|x|))
// with P fitted to log(erfc) up to 4, where float32's erf is 1.
TOKAMAK_INLINE F16x erf(F16x x) {
  const F16x a = abs(x), s = mul(x, x);
  F16x p = set1(-0.000598784361500293f);
  p = fma(p, s, set1(0.00499387551099062f));
  p = fma(p, s, set1(-0.026768358424305916f));
  p = fma(p, s, set1(0.11281920224428177f));
  p = fma(p, s, set1(-0.37612512707710266f));
  p = fma(p, s, set1(0.1283791065216064f));
  const F16x small = fma(p, x, x);
  const F16x b = min(set1(4.0f), a);
  F16x q = set1(-2.475510143540305e-07f);
  q = fma(q, b, set1(-1.8062573872157373e-05f));
  q = fma(q, b, set1(0.00041865603998303413f));
  q = fma(q, b, set1(-0.004125300794839859f));
  q = fma(q, b, set1(0.025039004161953926f));
  q = fma(q, b, set1(-0.1081923320889473f));
  q = fma(q, b, set1(-0.6334049105644226f));
  q = fma(q, b, set1(-1.1294938325881958f));
  q = fma(q, b, set1(0.0001714342797640711f));
  const F16x big = copy_sign(sub(set1(1.0f), exp(q)), x);
  return select_le(a, set1(0.93f), small, big);
}

// Natural logarithm: x = 2^e * m with m in [sqrt(1/2), sqrt(2)), log(m) by a polynomial in m - 1.
TOKAMAK_INLINE F16x log(F16x x) {
  const F16x least = set1(1.17549435e-38f), one = set1(1.0f);
  const F16x scaled = select_le(least, x, x, mul(x, set1(8388608.0f)));  // no subnormals
  const I16x bits = as_int(scaled);
  F16x e = to_float(iadd(shift_right<23>(bits), iset1(-126)));
  e = select_le(least, x, e, sub(e, set1(23.0f)));
  F16x m = as_float(ior(iand(bits, iset1(0x007fffff)), iset1(0x3f000000)));
  const F16x low = set1(0.70710678f);
  e = select_le(low, m, e, sub(e, one));
  m = sub(select_le(low, m, m, add(m, m)), one);
  const F16x z = mul(m, m);
  F16x p = set1(7.0376836292e-2f);
  p = fma(p, m, set1(-1.1514610310e-1f));
  p = fma(p, m, set1(1.1676998740e-1f));
  p = fma(p, m, set1(-1.2420140846e-1f));
  p = fma(p, m, set1(1.4249322787e-1f));
  p = fma(p, m, set1(-1.6668057665e-1f));
  p = fma(p, m, set1(2.0000714765e-1f));
  p = fma(p, m, set1(-2.4999993993e-1f));
  p = fma(p, m, set1(3.3333331174e-1f));
  F16x y = fma(e, set1(-2.12194440e-4f), mul(mul(p, m), z));
  y = add(m, fma(z, set1(-0.5f), y));
  y = fma(e, set1(0.693359375f), y);
  const F16x infinity = set1(__builtin_inff()), nan = set1(__builtin_nanf(""));
  y = select_le(infinity, x, x, y);
  y = select_le(x, zero(), select_le(zero(), x, sub(zero(), infinity), nan), y);
  return select_le(x, x, y, x);  // NaN
}
// To the nearest bfloat16, as float32.
TOKAMAK_INLINE F16x round_bf16(F16x x) {
  const I16x u = as_int(x);
  const I16x odd = iand(shift_right<16>(u), iset1(1));
  const I16x r = iand(iadd(u, iadd(odd, iset1(0x7fff))), iset1(static_cast<int32_t>(0xffff0000u)));
  return select_le(x, x, as_float(r), x);
}

TOKAMAK_INLINE F16x silu(F16x x) { return div(x, add(set1(1.0f), exp(sub(zero(), x)))); }
TOKAMAK_INLINE F16x gelu(F16x x) {
  const F16x half = mul(set1(0.5f), x);
  return mul(half, add(set1(1.0f), erf(mul(x, set1(0.70710678f)))));
}
TOKAMAK_INLINE F16x gelu_tanh(F16x x) {
  const F16x cube = mul(mul(x, x), x);
  const F16x inner = mul(set1(0.79788456f), fma(cube, set1(0.044715f), x));
  return mul(mul(set1(0.5f), x), add(set1(1.0f), tanh(inner)));
}
// max and min hand on a NaN of either side.
TOKAMAK_INLINE F16x max_nan(F16x a, F16x b) { return select_le(a, a, max(a, b), a); }
TOKAMAK_INLINE F16x min_nan(F16x a, F16x b) { return select_le(a, a, min(a, b), a); }
TOKAMAK_INLINE F16x relu(F16x x) { return max(zero(), x); }

}  // namespace simd
}  // namespace
}  // namespace tokamak
