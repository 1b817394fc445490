#include <immintrin.h>

#include "backend/cpu/isa_probe.h"

namespace tokamak::isa_probe {

// 1 + 2 * (3 * 5) in every lane; small integers are exact in bfloat16.
bool avx512_bf16() {
  volatile float three = 3;
  const __m512 x = _mm512_set1_ps(three), y = _mm512_set1_ps(5);
  const __m512 dot =
      _mm512_dpbf16_ps(_mm512_set1_ps(1), _mm512_cvtne2ps_pbh(x, x), _mm512_cvtne2ps_pbh(y, y));
  return _mm512_cmpeq_ps_mask(dot, _mm512_set1_ps(31)) == 0xffff;
}

}  // namespace tokamak::isa_probe
