#include "backend/cpu/peak_loops.h"

#include <emmintrin.h>

namespace tokamak {

void peak_read_sse2(const std::byte* p, size_t bytes) {
  const auto* v = reinterpret_cast<const __m128i*>(p);
  __m128i sum[4] = {};
  for (size_t i = 0; i < bytes / 16; i += 4)
    for (size_t j = 0; j < 4; ++j) sum[j] = _mm_xor_si128(sum[j], _mm_loadu_si128(v + i + j));
  asm volatile("" ::"x"(sum[0]), "x"(sum[1]), "x"(sum[2]), "x"(sum[3]));
}

double peak_f32_sse2(int64_t rounds) {
  __m128 acc[8] = {};
  const __m128 x = _mm_set1_ps(0.5f), y = _mm_set1_ps(0.25f);
  for (int64_t i = 0; i < rounds; ++i)
    for (__m128& a : acc) {
      a = _mm_add_ps(_mm_mul_ps(a, x), y);
      asm volatile("" : "+x"(a));
    }
  return static_cast<double>(rounds) * 8 * 4 * 2;
}

}  // namespace tokamak
