// Hopper's asynchronous instructions as attention uses them: barriers in shared memory, tensor
// copies, and products of a group of four warps (m64nNk16, 16-bit operands, float32 sums). Compiled
// for sm_90a only.
#pragma once
#include <cuda.h>

#include <cstdint>
#include <type_traits>

namespace tokamak::cuda {

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

__device__ inline uint32_t smem_address(const void* p) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}

__device__ inline void barrier_init(uint64_t* b, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(smem_address(b)), "r"(arrivals));
}
__device__ inline void barrier_fence() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
__device__ inline void barrier_expect(uint64_t* b, uint32_t bytes) {  // counts as an arrival
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(smem_address(b)),
               "r"(bytes)
               : "memory");
}
__device__ inline void barrier_arrive(uint64_t* b) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(smem_address(b)) : "memory");
}
__device__ inline void barrier_wait(uint64_t* b, uint32_t parity) {
  asm volatile(
      "{\n.reg .pred p;\n"
      "again:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1;\n"
      "@p bra done;\n"
      "bra again;\n"
      "done:\n}\n" ::"r"(smem_address(b)),
      "r"(parity)
      : "memory");
}

// Ordinary stores to shared memory before what the asynchronous units read.
__device__ inline void fence_async() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

__device__ inline void prefetch_map(const CUtensorMap* map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}
__device__ inline void copy_box(void* to, const CUtensorMap* map, uint64_t* barrier, int c0, int c1,
                                int c2, int c3) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, "
      "%4, %5, %6}], [%2];" ::"r"(smem_address(to)),
      "l"(map), "r"(smem_address(barrier)), "r"(c0), "r"(c1), "r"(c2), "r"(c3)
      : "memory");
}

__device__ inline void named_sync(int id, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
__device__ inline void named_arrive(int id, int threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
template <int N>
__device__ inline void fewer_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(N));
}
template <int N>
__device__ inline void more_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(N));
}

__device__ inline void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ inline void wgmma_commit() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
template <int N>
__device__ inline void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory");
}
template <int N>
__device__ inline void keep(float (&c)[N]) {  // the registers are in use until here
#pragma unroll
  for (int i = 0; i < N; ++i) asm volatile("" : "+f"(c[i])::"memory");
}

// A matrix in rows of 128 bytes, swizzled: `stride` between groups of eight rows, `leading` between
// columns of 64 elements (used where rows run along k).
__device__ inline uint64_t matrix(uint32_t address, uint32_t leading, uint32_t stride) {
  return static_cast<uint64_t>((address & 0x3ffff) >> 4) |
         static_cast<uint64_t>(leading >> 4) << 16 | static_cast<uint64_t>(stride >> 4) << 32 |
         uint64_t{1} << 62;
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
