#include <immintrin.h>

#include "backend/cpu/isa_probe.h"

namespace tokamak::isa_probe {

// fma(3, 5, 7) through half precision in eight lanes, then an AVX2 integer addition.
bool avx2() {
  volatile float three = 3;
  const __m256 x = _mm256_set1_ps(three);
  const __m256 y = _mm256_cvtph_ps(_mm256_cvtps_ph(_mm256_set1_ps(5), 0));
  const __m256i sum = _mm256_add_epi32(_mm256_cvtps_epi32(_mm256_fmadd_ps(x, y, _mm256_set1_ps(7))),
                                       _mm256_set1_epi32(1));
  return _mm256_movemask_epi8(_mm256_cmpeq_epi32(sum, _mm256_set1_epi32(23))) == -1;
}

}  // namespace tokamak::isa_probe
