// Products of 64 x 16 by 16 x N by a group of four warps (sm_90a), N = 8 * NT columns of up to 64.
// Operands of 16 bits in shared memory lie in rows of 64 elements with the 128-byte swizzle, the
// first row at a multiple of 1024. Warp w of the group has rows 16w … 16w + 15; lane 4g + t of it
// has of the sums c rows g (0, 1) and g + 8 (2, 3), columns 8i + 2t and 8i + 2t + 1; of A in
// registers rows g, g + 8, g, g + 8, columns 2t, 2t, 2t + 8, 2t + 8 and their right neighbours.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

namespace tokamak::cuda {

struct Codes {};  // f8e4m3, as a type of elements
template <typename E>
inline constexpr bool kIsHalf = __is_same(E, __half);

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

__device__ inline void wgmma_begin() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ inline void wgmma_commit() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
template <int PENDING>  // groups that may still run
__device__ inline void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(PENDING) : "memory");
}

// What the tensor core is told of a matrix in shared memory; + 2 goes 16 columns on. leading: bytes
// from 64 columns to the next 64, where rows run along the sum.
__device__ inline uint64_t matrix_descriptor(uint32_t address, uint32_t leading = 16) {
  return (uint64_t{1} << 62) | (uint64_t{1024 >> 4} << 32) | uint64_t{leading >> 4} << 16 |
         ((address & 0x3ffff) >> 4);
}

// clang-format off
#define TOKAMAK_C(i) "+f"(c[i][0]), "+f"(c[i][1]), "+f"(c[i][2]), "+f"(c[i][3])
#define TOKAMAK_C1 TOKAMAK_C(0)
#define TOKAMAK_C2 TOKAMAK_C1, TOKAMAK_C(1)
#define TOKAMAK_C4 TOKAMAK_C2, TOKAMAK_C(2), TOKAMAK_C(3)
#define TOKAMAK_C8 TOKAMAK_C4, TOKAMAK_C(4), TOKAMAK_C(5), TOKAMAK_C(6), TOKAMAK_C(7)
#define TOKAMAK_D1 "{%0,%1,%2,%3}"
#define TOKAMAK_D2 "{%0,%1,%2,%3,%4,%5,%6,%7}"
#define TOKAMAK_D4 "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15}"
#define TOKAMAK_D8 "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31}"
#define TOKAMAK_C12 TOKAMAK_C8, TOKAMAK_C(8), TOKAMAK_C(9), TOKAMAK_C(10), TOKAMAK_C(11)
#define TOKAMAK_C22 TOKAMAK_C16, TOKAMAK_C(16), TOKAMAK_C(17), TOKAMAK_C(18), TOKAMAK_C(19), TOKAMAK_C(20), TOKAMAK_C(21)
#define TOKAMAK_C16 TOKAMAK_C8, TOKAMAK_C(8), TOKAMAK_C(9), TOKAMAK_C(10), TOKAMAK_C(11), TOKAMAK_C(12), TOKAMAK_C(13), \
      TOKAMAK_C(14), TOKAMAK_C(15)
#define TOKAMAK_C32 TOKAMAK_C16, TOKAMAK_C(16), TOKAMAK_C(17), TOKAMAK_C(18), TOKAMAK_C(19), TOKAMAK_C(20), \
      TOKAMAK_C(21), TOKAMAK_C(22), TOKAMAK_C(23), TOKAMAK_C(24), TOKAMAK_C(25), TOKAMAK_C(26), TOKAMAK_C(27), \
      TOKAMAK_C(28), TOKAMAK_C(29), TOKAMAK_C(30), TOKAMAK_C(31)
#define TOKAMAK_D12 \
      "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15," \
      "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31," \
      "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47}"
#define TOKAMAK_D16 \
      "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15," \
      "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31," \
      "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47," \
      "%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63}"
#define TOKAMAK_D22 \
      "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15," \
      "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31," \
      "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47," \
      "%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63," \
      "%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79," \
      "%80,%81,%82,%83,%84,%85,%86,%87}"
#define TOKAMAK_D32 \
      "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15," \
      "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31," \
      "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47," \
      "%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63," \
      "%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79," \
      "%80,%81,%82,%83,%84,%85,%86,%87,%88,%89,%90,%91,%92,%93,%94,%95," \
      "%96,%97,%98,%99,%100,%101,%102,%103,%104,%105,%106,%107,%108,%109,%110,%111," \
      "%112,%113,%114,%115,%116,%117,%118,%119,%120,%121,%122,%123,%124,%125,%126,%127}"
// S, B, Z: operands of the descriptors and of the flag, behind the sums.
#define TOKAMAK_WGMMA_SHARED(NT, N, T, A, B, Z)                                                   \
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" Z ", 0;\n"                                    \
      "wgmma.mma_async.sync.aligned.m64n" N "k16.f32." T "." T " " TOKAMAK_D##NT ", %" A ", %" B  \
      ", p, 1, 1, 0, 0;\n}\n" : TOKAMAK_C##NT : "l"(a), "l"(b), "r"(int{accumulate}))
#define TOKAMAK_WGMMA_REGS(NT, N, T, A0, A1, A2, A3, B, Z)                                        \
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" Z ", 0;\n"                                    \
      "wgmma.mma_async.sync.aligned.m64n" N "k16.f32." T "." T " " TOKAMAK_D##NT                  \
      ", {%" A0 ",%" A1 ",%" A2 ",%" A3 "}, %" B ", p, 1, 1, 0;\n}\n"                             \
      : TOKAMAK_C##NT : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(int{accumulate}))

// c = a b, with `accumulate` c + a b; a and b in shared memory.
template <typename E, int NT>
__device__ inline void wgmma(float (&c)[NT][4], uint64_t a, uint64_t b, bool accumulate) {
  if constexpr (kIsHalf<E>) {
    if constexpr (NT == 1) TOKAMAK_WGMMA_SHARED(1, "8", "f16", "4", "5", "6");
    if constexpr (NT == 2) TOKAMAK_WGMMA_SHARED(2, "16", "f16", "8", "9", "10");
    if constexpr (NT == 4) TOKAMAK_WGMMA_SHARED(4, "32", "f16", "16", "17", "18");
    if constexpr (NT == 8) TOKAMAK_WGMMA_SHARED(8, "64", "f16", "32", "33", "34");
  } else {
    if constexpr (NT == 1) TOKAMAK_WGMMA_SHARED(1, "8", "bf16", "4", "5", "6");
    if constexpr (NT == 2) TOKAMAK_WGMMA_SHARED(2, "16", "bf16", "8", "9", "10");
    if constexpr (NT == 4) TOKAMAK_WGMMA_SHARED(4, "32", "bf16", "16", "17", "18");
    if constexpr (NT == 8) TOKAMAK_WGMMA_SHARED(8, "64", "bf16", "32", "33", "34");
  }
}
// The same with a in registers, which stay as they are until wgmma_wait().
template <typename E, int NT>
__device__ inline void wgmma(float (&c)[NT][4], const uint32_t (&a)[4], uint64_t b,
                             bool accumulate) {
  if constexpr (kIsHalf<E>) {
    if constexpr (NT == 1) TOKAMAK_WGMMA_REGS(1, "8", "f16", "4", "5", "6", "7", "8", "9");
    if constexpr (NT == 2) TOKAMAK_WGMMA_REGS(2, "16", "f16", "8", "9", "10", "11", "12", "13");
    if constexpr (NT == 4) TOKAMAK_WGMMA_REGS(4, "32", "f16", "16", "17", "18", "19", "20", "21");
    if constexpr (NT == 8) TOKAMAK_WGMMA_REGS(8, "64", "f16", "32", "33", "34", "35", "36", "37");
  } else {
    if constexpr (NT == 1) TOKAMAK_WGMMA_REGS(1, "8", "bf16", "4", "5", "6", "7", "8", "9");
    if constexpr (NT == 2) TOKAMAK_WGMMA_REGS(2, "16", "bf16", "8", "9", "10", "11", "12", "13");
    if constexpr (NT == 4) TOKAMAK_WGMMA_REGS(4, "32", "bf16", "16", "17", "18", "19", "20", "21");
    if constexpr (NT == 8) TOKAMAK_WGMMA_REGS(8, "64", "bf16", "32", "33", "34", "35", "36", "37");
  }
}
// Operands of 128 bytes a row, of any type; K: elements of a step, TAIL: transposed operands, which
// 8-bit ones cannot be.
#define TOKAMAK_WGMMA_BYTES(NT, N, K, T, TAIL, A, B)                                              \
  asm volatile("wgmma.mma_async.sync.aligned.m64n" N "k" K ".f32." T "." T " " TOKAMAK_D##NT      \
      ", %" A ", %" B ", 1, 1, 1" TAIL ";" : TOKAMAK_C##NT : "l"(a), "l"(b))
#define TOKAMAK_WGMMA_ADD(K, T, TAIL)                                                 \
  if constexpr (NT == 4) TOKAMAK_WGMMA_BYTES(4, "32", K, T, TAIL, "16", "17");        \
  if constexpr (NT == 8) TOKAMAK_WGMMA_BYTES(8, "64", K, T, TAIL, "32", "33");        \
  if constexpr (NT == 12) TOKAMAK_WGMMA_BYTES(12, "96", K, T, TAIL, "48", "49");      \
  if constexpr (NT == 16) TOKAMAK_WGMMA_BYTES(16, "128", K, T, TAIL, "64", "65");     \
  if constexpr (NT == 22) TOKAMAK_WGMMA_BYTES(22, "176", K, T, TAIL, "88", "89");     \
  if constexpr (NT == 32) TOKAMAK_WGMMA_BYTES(32, "256", K, T, TAIL, "128", "129")

// c += a b; E is neither float type: e4m3. 32 bytes of each row.
template <typename E, int NT>
__device__ inline void wgmma_add(float (&c)[NT][4], uint64_t a, uint64_t b) {
  if constexpr (kIsHalf<E>) {
    TOKAMAK_WGMMA_ADD("16", "f16", ", 0, 0");
  } else if constexpr (__is_same(E, __nv_bfloat16)) {
    TOKAMAK_WGMMA_ADD("16", "bf16", ", 0, 0");
  } else {
    TOKAMAK_WGMMA_ADD("32", "e4m3", "");
  }
}
// 256 columns at once. K: elements of a step, TAIL: transposed operands, which 8-bit ones cannot be.
#define TOKAMAK_WGMMA_WIDE(K, T, TAIL)                                                            \
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %130, 0;\n"                                      \
      "wgmma.mma_async.sync.aligned.m64n256k" K ".f32." T "." T " " TOKAMAK_D32 ", %128, %129"     \
      ", p, 1, 1" TAIL ";\n}\n" : TOKAMAK_C32 : "l"(a), "l"(b), "r"(int{accumulate}))

// The same for 256 columns; E is neither float type: e4m3, 32 to a step.
template <typename E>
__device__ inline void wgmma_wide(float (&c)[32][4], uint64_t a, uint64_t b, bool accumulate) {
  if constexpr (kIsHalf<E>)
    TOKAMAK_WGMMA_WIDE("16", "f16", ", 0, 0");
  else if constexpr (__is_same(E, __nv_bfloat16))
    TOKAMAK_WGMMA_WIDE("16", "bf16", ", 0, 0");
  else
    TOKAMAK_WGMMA_WIDE("32", "e4m3", "");
}
// clang-format on
#undef TOKAMAK_C
#undef TOKAMAK_C1
#undef TOKAMAK_C2
#undef TOKAMAK_C4
#undef TOKAMAK_C8
#undef TOKAMAK_D1
#undef TOKAMAK_D2
#undef TOKAMAK_D4
#undef TOKAMAK_D8
#undef TOKAMAK_C16
#undef TOKAMAK_C32
#undef TOKAMAK_D32
#undef TOKAMAK_WGMMA_SHARED
#undef TOKAMAK_WGMMA_REGS
#undef TOKAMAK_WGMMA_WIDE

// Nothing that reads or writes the sums moves over this.
template <int NT>
__device__ inline void wgmma_hold(float (&c)[NT][4]) {
#pragma unroll
  for (int i = 0; i < NT; ++i)
    asm volatile("" : "+f"(c[i][0]), "+f"(c[i][1]), "+f"(c[i][2]), "+f"(c[i][3])::"memory");
}
#endif

}  // namespace tokamak::cuda
