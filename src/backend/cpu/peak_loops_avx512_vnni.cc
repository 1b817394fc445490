#include <immintrin.h>

#include "backend/cpu/peak_loops.h"

namespace tokamak {

double peak_int8_avx512_vnni(int64_t rounds) {
  __m512i acc[16] = {};
  const __m512i u = _mm512_set1_epi8(2), s = _mm512_set1_epi8(3);
  for (int64_t i = 0; i < rounds; ++i)
    for (__m512i& a : acc) {
      a = _mm512_dpbusd_epi32(a, u, s);
      asm volatile("" : "+v"(a));
    }
  return static_cast<double>(rounds) * 16 * 64 * 2;
}

}  // namespace tokamak
