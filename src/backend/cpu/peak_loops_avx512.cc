#include <immintrin.h>

#include "backend/cpu/peak_loops.h"

namespace tokamak {

void peak_read_avx512(const std::byte* p, size_t bytes) {
  const auto* v = reinterpret_cast<const __m512i*>(p);
  __m512i sum[8] = {};
  for (size_t i = 0; i < bytes / 64; i += 8)
    for (size_t j = 0; j < 8; ++j) sum[j] = _mm512_xor_si512(sum[j], _mm512_loadu_si512(v + i + j));
  for (__m512i& s : sum) asm volatile("" ::"v"(s));
}

double peak_f32_avx512(int64_t rounds) {
  __m512 acc[16] = {};
  const __m512 x = _mm512_set1_ps(0.5f), y = _mm512_set1_ps(0.25f);
  for (int64_t i = 0; i < rounds; ++i)
    for (__m512& a : acc) {
      a = _mm512_fmadd_ps(a, x, y);
      asm volatile("" : "+v"(a));
    }
  return static_cast<double>(rounds) * 16 * 16 * 2;
}

}  // namespace tokamak
