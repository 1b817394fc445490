#include <immintrin.h>

#include "backend/cpu/isa_probe.h"

namespace tokamak::isa_probe {

// 1 + 4 * (200 * -3) in every lane.
bool avx512_vnni() {
  volatile int high = 200;
  const __m512i u = _mm512_set1_epi8(static_cast<char>(high));
  const __m512i dot = _mm512_dpbusd_epi32(_mm512_set1_epi32(1), u, _mm512_set1_epi8(-3));
  return _mm512_cmpeq_epi32_mask(dot, _mm512_set1_epi32(-2399)) == 0xffff;
}

}  // namespace tokamak::isa_probe
