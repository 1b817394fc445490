#include <immintrin.h>

#include "backend/cpu/isa_probe.h"

namespace tokamak::isa_probe {

// F, BW (bytes), DQ (64-bit products), VL (256-bit compare to mask), CD (conflicts).
bool avx512() {
  volatile int two = 2;
  const __m512i bytes =
      _mm512_add_epi8(_mm512_set1_epi8(static_cast<char>(two)), _mm512_set1_epi8(3));
  const __m512i wide = _mm512_mullo_epi64(_mm512_set1_epi64(two), _mm512_set1_epi64(21));
  const __m256i conflicts = _mm256_conflict_epi32(_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, two));
  return _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8(5)) == ~0ull &&
         _mm512_cmpeq_epi64_mask(wide, _mm512_set1_epi64(42)) == 0xff &&
         _mm256_cmpneq_epi32_mask(conflicts, _mm256_setzero_si256()) == 0x80;
}

}  // namespace tokamak::isa_probe
