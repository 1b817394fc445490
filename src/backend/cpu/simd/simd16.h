// Sixteen lanes: the vector that every tuned CPU kernel is written in. One __m512 at the AVX-512
// levels, two __m256 at AVX2. Include only from files compiled for an ISA level: all of it is
// internal to the including unit.
#pragma once
// GCC 12 takes the deliberately undefined operands of its own intrinsics for mistakes.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop

#include <cstdint>

namespace tokamak {
namespace {
namespace simd {

#define TOKAMAK_INLINE inline __attribute__((always_inline))

#if defined(__AVX512F__)

struct F16x {  // sixteen float32
  __m512 v;
};
struct I16x {  // sixteen int32, or sixty-four bytes
  __m512i v;
};

TOKAMAK_INLINE F16x zero() { return {_mm512_setzero_ps()}; }
TOKAMAK_INLINE F16x set1(float x) { return {_mm512_set1_ps(x)}; }
TOKAMAK_INLINE F16x load(const float* p) { return {_mm512_loadu_ps(p)}; }
TOKAMAK_INLINE void store(float* p, F16x a) { _mm512_storeu_ps(p, a.v); }
TOKAMAK_INLINE F16x load_n(const float* p, int n) {
  return {_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1), p)};
}
TOKAMAK_INLINE void store_n(float* p, F16x a, int n) {
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1), a.v);
}
TOKAMAK_INLINE F16x add(F16x a, F16x b) { return {_mm512_add_ps(a.v, b.v)}; }
TOKAMAK_INLINE F16x sub(F16x a, F16x b) { return {_mm512_sub_ps(a.v, b.v)}; }
TOKAMAK_INLINE F16x mul(F16x a, F16x b) { return {_mm512_mul_ps(a.v, b.v)}; }
TOKAMAK_INLINE F16x div(F16x a, F16x b) { return {_mm512_div_ps(a.v, b.v)}; }
TOKAMAK_INLINE F16x fma(F16x a, F16x b, F16x c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
// Where one is NaN, b.
TOKAMAK_INLINE F16x max(F16x a, F16x b) { return {_mm512_max_ps(a.v, b.v)}; }
TOKAMAK_INLINE F16x min(F16x a, F16x b) { return {_mm512_min_ps(a.v, b.v)}; }
TOKAMAK_INLINE F16x abs(F16x a) { return {_mm512_abs_ps(a.v)}; }
TOKAMAK_INLINE F16x sqrt(F16x a) { return {_mm512_sqrt_ps(a.v)}; }
TOKAMAK_INLINE float sum(F16x a) { return _mm512_reduce_add_ps(a.v); }
TOKAMAK_INLINE float max_of(F16x a) { return _mm512_reduce_max_ps(a.v); }
TOKAMAK_INLINE bool any_nan(F16x a) { return _mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q) != 0; }
// Lanes of a where x <= y, else of b.
TOKAMAK_INLINE F16x select_le(F16x x, F16x y, F16x a, F16x b) {
  return {_mm512_mask_blend_ps(_mm512_cmp_ps_mask(x.v, y.v, _CMP_LE_OQ), b.v, a.v)};
}
TOKAMAK_INLINE F16x copy_sign(F16x magnitude, F16x sign) {
  const __m512i s = _mm512_set1_epi32(static_cast<int>(0x80000000u));
  return {_mm512_castsi512_ps(_mm512_ternarylogic_epi32(s, _mm512_castps_si512(sign.v),
                                                        _mm512_castps_si512(magnitude.v), 0xca))};
}
TOKAMAK_INLINE F16x round(F16x a) { return {_mm512_roundscale_ps(a.v, 8)}; }
// a * 2^n for integral n
TOKAMAK_INLINE F16x scale2(F16x a, F16x n) { return {_mm512_scalef_ps(a.v, n.v)}; }
TOKAMAK_INLINE F16x iota() {
  return {_mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)};
}

TOKAMAK_INLINE I16x izero() { return {_mm512_setzero_si512()}; }
TOKAMAK_INLINE I16x iset1(int32_t x) { return {_mm512_set1_epi32(x)}; }
TOKAMAK_INLINE I16x ibroadcast(const void* p) {
  return {_mm512_set1_epi32(*static_cast<const int32_t*>(p))};
}
TOKAMAK_INLINE I16x iload(const void* p) { return {_mm512_loadu_si512(p)}; }
TOKAMAK_INLINE I16x iand(I16x a, I16x b) { return {_mm512_and_si512(a.v, b.v)}; }
TOKAMAK_INLINE I16x ior(I16x a, I16x b) { return {_mm512_or_si512(a.v, b.v)}; }
TOKAMAK_INLINE I16x ixor(I16x a, I16x b) { return {_mm512_xor_si512(a.v, b.v)}; }
TOKAMAK_INLINE I16x iadd(I16x a, I16x b) { return {_mm512_add_epi32(a.v, b.v)}; }
template <int N>
TOKAMAK_INLINE I16x shift_right(I16x a) {
  return {_mm512_srli_epi32(a.v, N)};
}
template <int N>
TOKAMAK_INLINE I16x shift_left(I16x a) {
  return {_mm512_slli_epi32(a.v, N)};
}
TOKAMAK_INLINE I16x to_int(F16x a) { return {_mm512_cvtps_epi32(a.v)}; }
TOKAMAK_INLINE F16x to_float(I16x a) { return {_mm512_cvtepi32_ps(a.v)}; }
TOKAMAK_INLINE F16x as_float(I16x a) { return {_mm512_castsi512_ps(a.v)}; }
TOKAMAK_INLINE I16x as_int(F16x a) { return {_mm512_castps_si512(a.v)}; }
TOKAMAK_INLINE int32_t isum(I16x a) { return _mm512_reduce_add_epi32(a.v); }
// int32 lanes to sixteen saturated int8
TOKAMAK_INLINE void store_i8(void* p, I16x a) {
  _mm_storeu_si128(static_cast<__m128i*>(p), _mm512_cvtsepi32_epi8(a.v));
}
TOKAMAK_INLINE F16x load_f16(const void* p) {
  return {_mm512_cvtph_ps(_mm256_loadu_si256(static_cast<const __m256i*>(p)))};
}
// Codes of f8e4m3 (base/f8.h) times 2^-8: float16 has their bits a place lower, with another bias.
TOKAMAK_INLINE F16x load_f8(const void* p) {
  const __m256i b = _mm256_cvtepi8_epi16(_mm_loadu_si128(static_cast<const __m128i*>(p)));
  return {_mm512_cvtph_ps(_mm256_and_si256(_mm256_slli_epi16(b, 7), _mm256_set1_epi16(-0x4001)))};
}
TOKAMAK_INLINE F16x load_bf16(const void* p) {
  return {_mm512_castsi512_ps(_mm512_slli_epi32(
      _mm512_cvtepu16_epi32(_mm256_loadu_si256(static_cast<const __m256i*>(p))), 16))};
}
TOKAMAK_INLINE void store_f16(void* p, F16x a) {
  _mm256_storeu_si256(static_cast<__m256i*>(p), _mm512_cvtps_ph(a.v, 8));
}
TOKAMAK_INLINE F16x load_u8(const void* p) {
  return {
      _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(static_cast<const __m128i*>(p))))};
}
TOKAMAK_INLINE F16x load_i8(const void* p) {
  return {
      _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(static_cast<const __m128i*>(p))))};
}
// Eight rows of eight int32, in_stride apart, to columns out_stride apart.
TOKAMAK_INLINE void transpose8(const int32_t* in, int64_t in_stride, int32_t* out,
                               int64_t out_stride) {
  __m256i a[8], b[8];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) a[i] = _mm256_loadu_si256((const __m256i*)(in + i * in_stride));
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    b[2 * i] = _mm256_unpacklo_epi32(a[2 * i], a[2 * i + 1]);
    b[2 * i + 1] = _mm256_unpackhi_epi32(a[2 * i], a[2 * i + 1]);
  }
  // a[4h + c]: columns c and c + 4 of rows 4h … 4h+3.
#pragma GCC unroll 2
  for (int h = 0; h < 2; ++h)
#pragma GCC unroll 2
    for (int c = 0; c < 2; ++c) {
      a[4 * h + 2 * c] = _mm256_unpacklo_epi64(b[4 * h + c], b[4 * h + 2 + c]);
      a[4 * h + 2 * c + 1] = _mm256_unpackhi_epi64(b[4 * h + c], b[4 * h + 2 + c]);
    }
#pragma GCC unroll 4
  for (int c = 0; c < 4; ++c) {
    _mm256_storeu_si256((__m256i*)(out + c * out_stride),
                        _mm256_permute2x128_si256(a[c], a[4 + c], 0x20));
    _mm256_storeu_si256((__m256i*)(out + (4 + c) * out_stride),
                        _mm256_permute2x128_si256(a[c], a[4 + c], 0x31));
  }
}

// Bits kShift … kShift+3 of sixteen bytes.
template <int kShift>
TOKAMAK_INLINE F16x load_u4(const void* p) {
  const __m512i v = _mm512_cvtepu8_epi32(_mm_loadu_si128(static_cast<const __m128i*>(p)));
  return {
      _mm512_cvtepi32_ps(_mm512_and_si512(_mm512_srli_epi32(v, kShift), _mm512_set1_epi32(15)))};
}

// Sums over the four lanes of each quarter: lane i of a quarter those of the i-th argument.
TOKAMAK_INLINE F16x quarter_sums(F16x a, F16x b, F16x c, F16x d) {
  const __m512 p = _mm512_add_ps(_mm512_unpacklo_ps(a.v, b.v), _mm512_unpackhi_ps(a.v, b.v));
  const __m512 q = _mm512_add_ps(_mm512_unpacklo_ps(c.v, d.v), _mm512_unpackhi_ps(c.v, d.v));
  const __m512d pd = _mm512_castps_pd(p), qd = _mm512_castps_pd(q);
  return {_mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(pd, qd)),
                        _mm512_castpd_ps(_mm512_unpackhi_pd(pd, qd)))};
}
// Lane i: the sum of argument i of all that went into q[0] … q[3], in order.
TOKAMAK_INLINE F16x sums_of_quarters(const F16x (&q)[4]) {
  const __m512 x = _mm512_add_ps(_mm512_shuffle_f32x4(q[0].v, q[1].v, 0x88),
                                 _mm512_shuffle_f32x4(q[0].v, q[1].v, 0xdd));
  const __m512 y = _mm512_add_ps(_mm512_shuffle_f32x4(q[2].v, q[3].v, 0x88),
                                 _mm512_shuffle_f32x4(q[2].v, q[3].v, 0xdd));
  return {_mm512_add_ps(_mm512_shuffle_f32x4(x, y, 0x88), _mm512_shuffle_f32x4(x, y, 0xdd))};
}
// x - n * pi/2 in double arithmetic, n = the nearest integer.
TOKAMAK_INLINE __m256 reduce_eight(__m256 x, __m256i& n) {
  const __m512d d = _mm512_cvtps_pd(x);
  const __m512d q =
      _mm512_roundscale_pd(_mm512_mul_pd(d, _mm512_set1_pd(0.63661977236758134308)), 8);
  n = _mm512_cvtpd_epi32(q);
  const __m512d r = _mm512_fnmadd_pd(q, _mm512_set1_pd(1.57079632679489655800), d);
  return _mm512_cvtpd_ps(_mm512_fnmadd_pd(q, _mm512_set1_pd(6.12323399573676603587e-17), r));
}
TOKAMAK_INLINE F16x reduce_half_pi(F16x x, I16x& n) {
  __m256i lo, hi;
  const __m256 a = reduce_eight(_mm512_castps512_ps256(x.v), lo);
  const __m256 b = reduce_eight(_mm512_extractf32x8_ps(x.v, 1), hi);
  n = {_mm512_inserti32x8(_mm512_castsi256_si512(lo), hi, 1)};
  return {_mm512_insertf32x8(_mm512_castps256_ps512(a), b, 1)};
}

// acc + sum of four products per lane; w unsigned bytes, x signed bytes.
TOKAMAK_INLINE I16x dot_u8(I16x acc, I16x w, I16x x) {
#if defined(__AVX512VNNI__)
  return {_mm512_dpbusd_epi32(acc.v, w.v, x.v)};
#else  // no pair of products may leave int16: w <= 127
  const __m512i pairs = _mm512_maddubs_epi16(w.v, x.v);
  return {_mm512_add_epi32(acc.v, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)))};
#endif
}
// Both signed, any values.
TOKAMAK_INLINE I16x dot_i8(I16x acc, I16x w, I16x x) {
  const __m512i even = _mm512_madd_epi16(_mm512_srai_epi16(_mm512_slli_epi16(w.v, 8), 8),
                                         _mm512_srai_epi16(_mm512_slli_epi16(x.v, 8), 8));
  const __m512i odd = _mm512_madd_epi16(_mm512_srai_epi16(w.v, 8), _mm512_srai_epi16(x.v, 8));
  return {_mm512_add_epi32(acc.v, _mm512_add_epi32(even, odd))};
}
// acc + sum of two products of int16 per lane.
TOKAMAK_INLINE I16x dot_i16(I16x acc, I16x w, I16x x) {
#if defined(__AVX512VNNI__)
  return {_mm512_dpwssd_epi32(acc.v, w.v, x.v)};
#else
  return {_mm512_add_epi32(acc.v, _mm512_madd_epi16(w.v, x.v))};
#endif
}
// The same with one pair for all lanes, in one instruction where GCC 12 makes two.
TOKAMAK_INLINE I16x dot_i16_all(I16x acc, I16x w, const int32_t* x) {
#if defined(__AVX512VNNI__)
  asm("vpdpwssd %2%{1to16%}, %1, %0" : "+v"(acc.v) : "v"(w.v), "m"(*x));
  return acc;
#else
  return dot_i16(acc, w, ibroadcast(x));
#endif
}
// The lower and the upper byte of each 16 bits as int16.
TOKAMAK_INLINE I16x sign_even_bytes(I16x a) {
  return {_mm512_srai_epi16(_mm512_slli_epi16(a.v, 8), 8)};
}
TOKAMAK_INLINE I16x sign_odd_bytes(I16x a) { return {_mm512_srai_epi16(a.v, 8)}; }
TOKAMAK_INLINE I16x odd_bytes(I16x a) { return {_mm512_srli_epi16(a.v, 8)}; }
// Of each 16 bits, the highest four.
TOKAMAK_INLINE I16x high_nibbles(I16x a) { return {_mm512_srli_epi16(a.v, 12)}; }
// int32 lanes as sixteen saturated int16, of each four the first, third, second and fourth.
TOKAMAK_INLINE void store_i16_even_odd(void* p, I16x a) {
  const __m256i v = _mm512_cvtsepi32_epi16(a.v);
  _mm256_storeu_si256(static_cast<__m256i*>(p),
                      _mm256_shufflehi_epi16(_mm256_shufflelo_epi16(v, 0xd8), 0xd8));
}
#if defined(__AVX512VNNI__)
constexpr bool kHasVnni = true;
#else
constexpr bool kHasVnni = false;
#endif

#else  // AVX2

struct F16x {
  __m256 lo, hi;
};
struct I16x {
  __m256i lo, hi;
};

TOKAMAK_INLINE F16x zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
TOKAMAK_INLINE F16x set1(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
TOKAMAK_INLINE F16x load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
TOKAMAK_INLINE void store(float* p, F16x a) {
  _mm256_storeu_ps(p, a.lo);
  _mm256_storeu_ps(p + 8, a.hi);
}
TOKAMAK_INLINE __m256i lane_mask(int n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
TOKAMAK_INLINE F16x load_n(const float* p, int n) {
  return {_mm256_maskload_ps(p, lane_mask(n)), _mm256_maskload_ps(p + 8, lane_mask(n - 8))};
}
TOKAMAK_INLINE void store_n(float* p, F16x a, int n) {
  _mm256_maskstore_ps(p, lane_mask(n), a.lo);
  _mm256_maskstore_ps(p + 8, lane_mask(n - 8), a.hi);
}
#define TOKAMAK_EACH(name, intrinsic)                      \
  TOKAMAK_INLINE F16x name(F16x a, F16x b) {               \
    return {intrinsic(a.lo, b.lo), intrinsic(a.hi, b.hi)}; \
  }
TOKAMAK_EACH(add, _mm256_add_ps)
TOKAMAK_EACH(sub, _mm256_sub_ps)
TOKAMAK_EACH(mul, _mm256_mul_ps)
TOKAMAK_EACH(div, _mm256_div_ps)
TOKAMAK_EACH(max, _mm256_max_ps)
TOKAMAK_EACH(min, _mm256_min_ps)
#undef TOKAMAK_EACH
TOKAMAK_INLINE F16x fma(F16x a, F16x b, F16x c) {
  return {_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}
TOKAMAK_INLINE F16x abs(F16x a) {
  const __m256 m = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
  return {_mm256_and_ps(a.lo, m), _mm256_and_ps(a.hi, m)};
}
TOKAMAK_INLINE F16x sqrt(F16x a) { return {_mm256_sqrt_ps(a.lo), _mm256_sqrt_ps(a.hi)}; }
TOKAMAK_INLINE float sum(F16x a) {
  const __m256 s = _mm256_add_ps(a.lo, a.hi);
  __m128 q = _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
  q = _mm_add_ps(q, _mm_movehl_ps(q, q));
  return _mm_cvtss_f32(_mm_add_ss(q, _mm_movehdup_ps(q)));
}
TOKAMAK_INLINE float max_of(F16x a) {
  const __m256 s = _mm256_max_ps(a.lo, a.hi);
  __m128 q = _mm_max_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
  q = _mm_max_ps(q, _mm_movehl_ps(q, q));
  return _mm_cvtss_f32(_mm_max_ss(q, _mm_movehdup_ps(q)));
}
TOKAMAK_INLINE bool any_nan(F16x a) {
  return (_mm256_movemask_ps(_mm256_cmp_ps(a.lo, a.lo, _CMP_UNORD_Q)) |
          _mm256_movemask_ps(_mm256_cmp_ps(a.hi, a.hi, _CMP_UNORD_Q))) != 0;
}
TOKAMAK_INLINE F16x select_le(F16x x, F16x y, F16x a, F16x b) {
  return {_mm256_blendv_ps(b.lo, a.lo, _mm256_cmp_ps(x.lo, y.lo, _CMP_LE_OQ)),
          _mm256_blendv_ps(b.hi, a.hi, _mm256_cmp_ps(x.hi, y.hi, _CMP_LE_OQ))};
}
TOKAMAK_INLINE F16x copy_sign(F16x magnitude, F16x sign) {
  const __m256 s = _mm256_set1_ps(-0.0f);
  return {_mm256_or_ps(_mm256_and_ps(s, sign.lo), _mm256_andnot_ps(s, magnitude.lo)),
          _mm256_or_ps(_mm256_and_ps(s, sign.hi), _mm256_andnot_ps(s, magnitude.hi))};
}
TOKAMAK_INLINE F16x round(F16x a) {
  return {_mm256_round_ps(a.lo, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC),
          _mm256_round_ps(a.hi, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
// 2^n for integral n of -126 … 127
TOKAMAK_INLINE __m256 pow2(__m256 n) {
  return _mm256_castsi256_ps(
      _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23));
}
// In two halves: |n| <= 250 reaches infinity and the subnormal numbers without leaving pow2's
// range.
TOKAMAK_INLINE __m256 scale2(__m256 a, __m256 n) {
  const __m256 h = _mm256_round_ps(_mm256_mul_ps(n, _mm256_set1_ps(0.5f)),
                                   _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC);
  return _mm256_mul_ps(_mm256_mul_ps(a, pow2(h)), pow2(_mm256_sub_ps(n, h)));
}
TOKAMAK_INLINE F16x scale2(F16x a, F16x n) { return {scale2(a.lo, n.lo), scale2(a.hi, n.hi)}; }
TOKAMAK_INLINE F16x iota() {
  return {_mm256_setr_ps(0, 1, 2, 3, 4, 5, 6, 7), _mm256_setr_ps(8, 9, 10, 11, 12, 13, 14, 15)};
}

TOKAMAK_INLINE I16x izero() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
TOKAMAK_INLINE I16x iset1(int32_t x) { return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
TOKAMAK_INLINE I16x ibroadcast(const void* p) { return iset1(*static_cast<const int32_t*>(p)); }
TOKAMAK_INLINE I16x iload(const void* p) {
  const auto* q = static_cast<const __m256i*>(p);
  return {_mm256_loadu_si256(q), _mm256_loadu_si256(q + 1)};
}
#define TOKAMAK_EACH(name, intrinsic)                      \
  TOKAMAK_INLINE I16x name(I16x a, I16x b) {               \
    return {intrinsic(a.lo, b.lo), intrinsic(a.hi, b.hi)}; \
  }
TOKAMAK_EACH(iand, _mm256_and_si256)
TOKAMAK_EACH(ior, _mm256_or_si256)
TOKAMAK_EACH(ixor, _mm256_xor_si256)
TOKAMAK_EACH(iadd, _mm256_add_epi32)
#undef TOKAMAK_EACH
template <int N>
TOKAMAK_INLINE I16x shift_right(I16x a) {
  return {_mm256_srli_epi32(a.lo, N), _mm256_srli_epi32(a.hi, N)};
}
template <int N>
TOKAMAK_INLINE I16x shift_left(I16x a) {
  return {_mm256_slli_epi32(a.lo, N), _mm256_slli_epi32(a.hi, N)};
}
TOKAMAK_INLINE I16x to_int(F16x a) { return {_mm256_cvtps_epi32(a.lo), _mm256_cvtps_epi32(a.hi)}; }
TOKAMAK_INLINE F16x to_float(I16x a) {
  return {_mm256_cvtepi32_ps(a.lo), _mm256_cvtepi32_ps(a.hi)};
}
TOKAMAK_INLINE F16x as_float(I16x a) {
  return {_mm256_castsi256_ps(a.lo), _mm256_castsi256_ps(a.hi)};
}
TOKAMAK_INLINE I16x as_int(F16x a) {
  return {_mm256_castps_si256(a.lo), _mm256_castps_si256(a.hi)};
}
TOKAMAK_INLINE int32_t isum(I16x a) {
  const __m256i s = _mm256_add_epi32(a.lo, a.hi);
  __m128i q = _mm_add_epi32(_mm256_castsi256_si128(s), _mm256_extracti128_si256(s, 1));
  q = _mm_add_epi32(q, _mm_shuffle_epi32(q, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(q, _mm_shuffle_epi32(q, 0xb1)));
}
TOKAMAK_INLINE void store_i8(void* p, I16x a) {
  const __m256i w = _mm256_permute4x64_epi64(_mm256_packs_epi32(a.lo, a.hi), 0xd8);
  _mm_storeu_si128(static_cast<__m128i*>(p),
                   _mm_packs_epi16(_mm256_castsi256_si128(w), _mm256_extracti128_si256(w, 1)));
}
TOKAMAK_INLINE F16x load_f16(const void* p) {
  const auto* q = static_cast<const __m128i*>(p);
  return {_mm256_cvtph_ps(_mm_loadu_si128(q)), _mm256_cvtph_ps(_mm_loadu_si128(q + 1))};
}
TOKAMAK_INLINE __m256 half_f8(__m128i b) {
  const __m128i h = _mm_slli_epi16(_mm_cvtepi8_epi16(b), 7);
  return _mm256_cvtph_ps(_mm_and_si128(h, _mm_set1_epi16(-0x4001)));
}
TOKAMAK_INLINE F16x load_f8(const void* p) {
  const __m128i b = _mm_loadu_si128(static_cast<const __m128i*>(p));
  return {half_f8(b), half_f8(_mm_srli_si128(b, 8))};
}
TOKAMAK_INLINE F16x load_bf16(const void* p) {
  const auto* q = static_cast<const __m128i*>(p);
  return {
      _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(q)), 16)),
      _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(q + 1)), 16))};
}
TOKAMAK_INLINE void store_f16(void* p, F16x a) {
  auto* q = static_cast<__m128i*>(p);
  _mm_storeu_si128(q, _mm256_cvtps_ph(a.lo, 8));
  _mm_storeu_si128(q + 1, _mm256_cvtps_ph(a.hi, 8));
}
TOKAMAK_INLINE F16x load_u8(const void* p) {
  const __m128i b = _mm_loadu_si128(static_cast<const __m128i*>(p));
  return to_float({_mm256_cvtepu8_epi32(b), _mm256_cvtepu8_epi32(_mm_srli_si128(b, 8))});
}
TOKAMAK_INLINE F16x load_i8(const void* p) {
  const __m128i b = _mm_loadu_si128(static_cast<const __m128i*>(p));
  return to_float({_mm256_cvtepi8_epi32(b), _mm256_cvtepi8_epi32(_mm_srli_si128(b, 8))});
}
template <int kShift>
TOKAMAK_INLINE F16x load_u4(const void* p) {
  const __m128i b = _mm_loadu_si128(static_cast<const __m128i*>(p));
  const __m128i v = _mm_and_si128(_mm_srli_epi16(b, kShift), _mm_set1_epi8(15));
  return to_float({_mm256_cvtepu8_epi32(v), _mm256_cvtepu8_epi32(_mm_srli_si128(v, 8))});
}
TOKAMAK_INLINE __m256 sums_of_eight(const F16x* a) {
  const auto half = [a](int i) __attribute__((always_inline)) {
    return _mm256_add_ps(a[i].lo, a[i].hi);
  };
  const __m256 p =
      _mm256_hadd_ps(_mm256_hadd_ps(half(0), half(1)), _mm256_hadd_ps(half(2), half(3)));
  const __m256 q =
      _mm256_hadd_ps(_mm256_hadd_ps(half(4), half(5)), _mm256_hadd_ps(half(6), half(7)));
  return _mm256_add_ps(_mm256_permute2f128_ps(p, q, 0x20), _mm256_permute2f128_ps(p, q, 0x31));
}
// Lane i: the sum of a[i].
TOKAMAK_INLINE F16x sums_of(const F16x (&a)[16]) {
  return {sums_of_eight(a), sums_of_eight(a + 8)};
}
// x - n * pi/2 in double arithmetic, n = the nearest integer.
TOKAMAK_INLINE __m128 reduce_four(__m128 x, __m128i& n) {
  const __m256d d = _mm256_cvtps_pd(x);
  const __m256d q = _mm256_round_pd(_mm256_mul_pd(d, _mm256_set1_pd(0.63661977236758134308)),
                                    _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  n = _mm256_cvtpd_epi32(q);
  const __m256d r = _mm256_fnmadd_pd(q, _mm256_set1_pd(1.57079632679489655800), d);
  return _mm256_cvtpd_ps(_mm256_fnmadd_pd(q, _mm256_set1_pd(6.12323399573676603587e-17), r));
}
TOKAMAK_INLINE __m256 reduce_eight(__m256 x, __m256i& n) {
  __m128i lo, hi;
  const __m128 a = reduce_four(_mm256_castps256_ps128(x), lo);
  const __m128 b = reduce_four(_mm256_extractf128_ps(x, 1), hi);
  n = _mm256_set_m128i(hi, lo);
  return _mm256_set_m128(b, a);
}
TOKAMAK_INLINE F16x reduce_half_pi(F16x x, I16x& n) {
  F16x r;
  r.lo = reduce_eight(x.lo, n.lo);
  r.hi = reduce_eight(x.hi, n.hi);
  return r;
}
TOKAMAK_INLINE __m256i dot_u8_half(__m256i acc, __m256i w, __m256i x) {
  return _mm256_add_epi32(acc, _mm256_madd_epi16(_mm256_maddubs_epi16(w, x), _mm256_set1_epi16(1)));
}
TOKAMAK_INLINE I16x dot_u8(I16x acc, I16x w, I16x x) {
  return {dot_u8_half(acc.lo, w.lo, x.lo), dot_u8_half(acc.hi, w.hi, x.hi)};
}
TOKAMAK_INLINE I16x dot_i16(I16x acc, I16x w, I16x x) {
  return {_mm256_add_epi32(acc.lo, _mm256_madd_epi16(w.lo, x.lo)),
          _mm256_add_epi32(acc.hi, _mm256_madd_epi16(w.hi, x.hi))};
}
TOKAMAK_INLINE I16x dot_i16_all(I16x acc, I16x w, const int32_t* x) {
  return dot_i16(acc, w, ibroadcast(x));
}
TOKAMAK_INLINE I16x sign_even_bytes(I16x a) {
  return {_mm256_srai_epi16(_mm256_slli_epi16(a.lo, 8), 8),
          _mm256_srai_epi16(_mm256_slli_epi16(a.hi, 8), 8)};
}
TOKAMAK_INLINE I16x sign_odd_bytes(I16x a) {
  return {_mm256_srai_epi16(a.lo, 8), _mm256_srai_epi16(a.hi, 8)};
}
TOKAMAK_INLINE I16x odd_bytes(I16x a) {
  return {_mm256_srli_epi16(a.lo, 8), _mm256_srli_epi16(a.hi, 8)};
}
TOKAMAK_INLINE I16x high_nibbles(I16x a) {
  return {_mm256_srli_epi16(a.lo, 12), _mm256_srli_epi16(a.hi, 12)};
}
TOKAMAK_INLINE void store_i16_even_odd(void* p, I16x a) {
  const __m256i v = _mm256_permute4x64_epi64(_mm256_packs_epi32(a.lo, a.hi), 0xd8);
  _mm256_storeu_si256(static_cast<__m256i*>(p),
                      _mm256_shufflehi_epi16(_mm256_shufflelo_epi16(v, 0xd8), 0xd8));
}
// |w| * (x with w's sign): 128 * 127 * 2 stays inside int16.
TOKAMAK_INLINE I16x dot_i8(I16x acc, I16x w, I16x x) {
  return {dot_u8_half(acc.lo, _mm256_abs_epi8(w.lo), _mm256_sign_epi8(x.lo, w.lo)),
          dot_u8_half(acc.hi, _mm256_abs_epi8(w.hi), _mm256_sign_epi8(x.hi, w.hi))};
}
constexpr bool kHasVnni = false;

#endif

// exp to 2 units in the last place; NaN stays NaN.
TOKAMAK_INLINE F16x exp(F16x x) {
  x = max(set1(-104.0f), min(set1(88.8f), x));
  const F16x n = round(mul(x, set1(1.44269504f)));
  F16x r = fma(n, set1(-0.693359375f), x);
  r = fma(n, set1(2.12194440e-4f), r);
  F16x p = set1(1.9875691500e-4f);
  p = fma(p, r, set1(1.3981999507e-3f));
  p = fma(p, r, set1(8.3334519073e-3f));
  p = fma(p, r, set1(4.1665795894e-2f));
  p = fma(p, r, set1(1.6666665459e-1f));
  p = fma(p, r, set1(5.0000001201e-1f));
  return scale2(fma(mul(p, r), r, add(r, set1(1.0f))), n);
}

TOKAMAK_INLINE F16x sigmoid(F16x x) {
  return div(set1(1.0f), add(set1(1.0f), exp(sub(zero(), x))));
}

// tanh: odd polynomial near 0 (where the quotient cancels), else 1 - 2 / (1 + exp(2|x|)).
TOKAMAK_INLINE F16x tanh(F16x x) {
  const F16x a = abs(x), s = mul(x, x);
  F16x p = set1(-5.70498872745e-3f);
  p = fma(p, s, set1(2.06390887954e-2f));
  p = fma(p, s, set1(-5.37397155531e-2f));
  p = fma(p, s, set1(1.33314422036e-1f));
  p = fma(p, s, set1(-3.33332819422e-1f));
  const F16x small = fma(mul(p, s), x, x);
  const F16x big = sub(set1(1.0f), div(set1(2.0f), add(set1(1.0f), exp(add(a, a)))));
  return select_le(a, set1(0.625f), small, copy_sign(big, x));
}

// cos and sin of angles in radians; the reduction is exact for every float below 2^30.
TOKAMAK_INLINE void cos_sin(F16x x, F16x& c, F16x& s) {
  I16x n;
  const F16x r = reduce_half_pi(x, n), z = mul(r, r);
  F16x p = fma(set1(-1.9515295891e-4f), z, set1(8.3321608736e-3f));
  p = fma(p, z, set1(-1.6666654611e-1f));
  const F16x sine = fma(mul(p, z), r, r);
  F16x q = fma(set1(2.443315711809948e-5f), z, set1(-1.388731625493765e-3f));
  q = fma(q, z, set1(4.166664568298827e-2f));
  const F16x cosine = fma(mul(q, z), z, fma(z, set1(-0.5f), set1(1.0f)));
  // Odd quadrants swap the two; the sine is negative in quadrants 2, 3, the cosine in 1, 2.
  const F16x odd = to_float(iand(n, iset1(1))), half = set1(0.5f);
  const F16x sv = select_le(odd, half, sine, cosine), cv = select_le(odd, half, cosine, sine);
  const I16x sign = iset1(static_cast<int32_t>(0x80000000u));
  s = as_float(ixor(as_int(sv), iand(shift_left<30>(n), sign)));
  c = as_float(ixor(as_int(cv), iand(shift_left<30>(iadd(n, iset1(1))), sign)));
}

}  // namespace simd
}  // namespace
}  // namespace tokamak
