// Products of int8 tiles, real or emulated (tiles.h).
#pragma once
#include "backend/cpu/amx/tiles.h"

namespace tokamak {
namespace {
namespace tiles {

// C[m][n] += sum over fours of A[m][four] * B[four][n], bytes signed.
template <int C, int A, int B>
TOKAMAK_INLINE void dot_i8() {
#if defined(TOKAMAK_EMULATE_TILES)
  check();
  for (int m = 0; m < 16; ++m)
    for (int p = 0; p < 16; ++p) {
      const auto* a = reinterpret_cast<const int8_t*>(file.t[A][m]) + 4 * p;
      const auto* b = reinterpret_cast<const int8_t*>(file.t[B][p]);
      auto* c = reinterpret_cast<int32_t*>(file.t[C][m]);
      for (int n = 0; n < 16; ++n)
        c[n] += a[0] * b[4 * n] + a[1] * b[4 * n + 1] + a[2] * b[4 * n + 2] + a[3] * b[4 * n + 3];
    }
#else
  asm volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(C), "i"(A), "i"(B));
#endif
}

}  // namespace tiles
}  // namespace
}  // namespace tokamak
