// Products of 16 x 16 by 16 x 8 by one warp: lane 4g + t has of the sums rows g (0, 1) and g + 8
// (2, 3), columns 2t and 2t + 1; of a rows g, g + 8, g, g + 8, columns 2t, 2t, 2t + 8, 2t + 8 and
// their right neighbours; of b column g, rows 2t (b0) and 2t + 8 (b1) and the next ones.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

namespace tokamak::cuda {

// Four 8 x 8 matrices of 16-bit elements; lane l gives the address of row l % 8 of matrix l / 8.
__device__ inline void load_matrices(uint32_t (&r)[4], uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address));
}

// c += a b
template <bool BF16>
__device__ inline void mma(float (&c)[4], uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3,
                           uint32_t b0, uint32_t b1) {
#define TOKAMAK_MMA(type)                                          \
  asm("mma.sync.aligned.m16n8k16.row.col.f32." type "." type       \
      ".f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};" \
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])             \
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1))
  if constexpr (BF16)
    TOKAMAK_MMA("bf16");
  else
    TOKAMAK_MMA("f16");
#undef TOKAMAK_MMA
}
template <typename E>
__device__ inline void mma_halves(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  mma<!__is_same(E, __half)>(c, a[0], a[1], a[2], a[3], b0, b1);
}

}  // namespace tokamak::cuda
