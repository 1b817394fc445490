// Products of a group of four warps as attention uses them (wgmma.cuh: m64nNk16, operands of 16
// bits), with sums in one array, the second operand also with its columns contiguous.
#pragma once
#include <cstdint>
#include <type_traits>

#include "backend/cuda/kernels/wgmma.cuh"

namespace tokamak::cuda {

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

template <int N>
__device__ inline void wgmma_hold(float (&c)[N]) {  // as that of wgmma.cuh
#pragma unroll
  for (int i = 0; i < N; ++i) asm volatile("" : "+f"(c[i])::"memory");
}

#define TOKAMAK_C8(c, i)                                                                      \
  "+f"(c[i]), "+f"(c[i + 1]), "+f"(c[i + 2]), "+f"(c[i + 3]), "+f"(c[i + 4]), "+f"(c[i + 5]), \
      "+f"(c[i + 6]), "+f"(c[i + 7])
#define TOKAMAK_C32(c, i) \
  TOKAMAK_C8(c, i), TOKAMAK_C8(c, i + 8), TOKAMAK_C8(c, i + 16), TOKAMAK_C8(c, i + 24)
#define TOKAMAK_C64(c) TOKAMAK_C32(c, 0), TOKAMAK_C32(c, 32)
#define TOKAMAK_R32                                                                                \
  "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25," \
  "%26,%27,%28,%29,%30,%31"
#define TOKAMAK_R64                                                                               \
  TOKAMAK_R32                                                                                     \
  ",%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,%52,%53,%54," \
  "%55,%56,%57,%58,%59,%60,%61,%62,%63"

// c (+)= a b^T, both in shared memory with k contiguous.
#define TOKAMAK_WGMMA_SS(N, TYPE, REGISTERS, CLIST, A, B, P)                                 \
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" P                                        \
               ", 0;\n"                                                                      \
               "wgmma.mma_async.sync.aligned.m64n" N "k16.f32." TYPE "." TYPE " {" REGISTERS \
               "}, %" A ", %" B ", p, 1, 1, 0, 0;\n}\n"                                      \
               : CLIST                                                                       \
               : "l"(a), "l"(b), "r"(static_cast<int>(add)))
// c += a b, a in registers, b in shared memory with its columns contiguous.
#define TOKAMAK_WGMMA_RS(N, TYPE, REGISTERS, CLIST, A0, A1, A2, A3, B)                         \
  asm volatile(                                                                                \
      "{\n.reg .pred p;\nsetp.ne.b32 p, 1, 0;\n"                                               \
      "wgmma.mma_async.sync.aligned.m64n" N "k16.f32." TYPE "." TYPE " {" REGISTERS "}, {%" A0 \
      ",%" A1 ",%" A2 ",%" A3 "}, %" B ", p, 1, 1, 1;\n}\n"                                    \
      : CLIST                                                                                  \
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "l"(b))

template <bool BF16>
__device__ inline void wgmma_ss(float* c, uint64_t a, uint64_t b, bool add,
                                std::integral_constant<int, 64>) {
  if constexpr (BF16)
    TOKAMAK_WGMMA_SS("64", "bf16", TOKAMAK_R32, TOKAMAK_C32(c, 0), "32", "33", "34");
  else
    TOKAMAK_WGMMA_SS("64", "f16", TOKAMAK_R32, TOKAMAK_C32(c, 0), "32", "33", "34");
}
template <bool BF16>
__device__ inline void wgmma_ss(float* c, uint64_t a, uint64_t b, bool add,
                                std::integral_constant<int, 128>) {
  if constexpr (BF16)
    TOKAMAK_WGMMA_SS("128", "bf16", TOKAMAK_R64, TOKAMAK_C64(c), "64", "65", "66");
  else
    TOKAMAK_WGMMA_SS("128", "f16", TOKAMAK_R64, TOKAMAK_C64(c), "64", "65", "66");
}
template <bool BF16>
__device__ inline void wgmma_rs(float* c, uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3,
                                uint64_t b, std::integral_constant<int, 64>) {
  if constexpr (BF16)
    TOKAMAK_WGMMA_RS("64", "bf16", TOKAMAK_R32, TOKAMAK_C32(c, 0), "32", "33", "34", "35", "36");
  else
    TOKAMAK_WGMMA_RS("64", "f16", TOKAMAK_R32, TOKAMAK_C32(c, 0), "32", "33", "34", "35", "36");
}
template <bool BF16>
__device__ inline void wgmma_rs(float* c, uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3,
                                uint64_t b, std::integral_constant<int, 128>) {
  if constexpr (BF16)
    TOKAMAK_WGMMA_RS("128", "bf16", TOKAMAK_R64, TOKAMAK_C64(c), "64", "65", "66", "67", "68");
  else
    TOKAMAK_WGMMA_RS("128", "f16", TOKAMAK_R64, TOKAMAK_C64(c), "64", "65", "66", "67", "68");
}

#undef TOKAMAK_C8
#undef TOKAMAK_C32
#undef TOKAMAK_C64
#undef TOKAMAK_R32
#undef TOKAMAK_R64
#undef TOKAMAK_WGMMA_SS
#undef TOKAMAK_WGMMA_RS

#endif

}  // namespace tokamak::cuda
