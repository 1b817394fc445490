#include <immintrin.h>

#include "backend/cpu/peak_loops.h"

namespace tokamak {

double peak_bf16_avx512_bf16(int64_t rounds) {
  __m512 acc[16] = {};
  const __m512 half = _mm512_set1_ps(0.5f);
  const __m512bh x = _mm512_cvtne2ps_pbh(half, half);
  for (int64_t i = 0; i < rounds; ++i)
    for (__m512& a : acc) {
      a = _mm512_dpbf16_ps(a, x, x);
      asm volatile("" : "+v"(a));
    }
  return static_cast<double>(rounds) * 16 * 32 * 2;
}

}  // namespace tokamak
