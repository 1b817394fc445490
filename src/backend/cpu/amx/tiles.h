// AMX tile registers: eight of 16 rows x 64 bytes, one configuration for all. With
// TOKAMAK_EMULATE_TILES the same names work on memory instead, so that tests check kernels written
// with them on every AVX-512 machine. Include only from files compiled for an ISA level.
#pragma once
#include <cstddef>
#include <cstdint>

#include "backend/cpu/simd/simd16.h"

#if defined(TOKAMAK_EMULATE_TILES)
#include <cstring>
#endif

namespace tokamak {
namespace {
namespace tiles {

constexpr size_t kTileBytes = 1024, kTileRow = 64;

#if defined(TOKAMAK_EMULATE_TILES)

struct alignas(64) TileFile {
  std::byte t[8][16][64];
};
thread_local TileFile file;
thread_local bool configured = false;

// Every use must lie between configure and release, as on the real thing.
TOKAMAK_INLINE void check() {
  if (!configured) __builtin_trap();
}
TOKAMAK_INLINE void configure() {
  std::memset(&file, 0, sizeof(file));
  configured = true;
}
TOKAMAK_INLINE void release() { configured = false; }
// Functions of their own: kernels name them hundreds of times.
[[maybe_unused]] __attribute__((noinline)) void emulate_zero(int t) {
  check();
  std::memset(file.t[t], 0, kTileBytes);
}
[[maybe_unused]] __attribute__((noinline)) void emulate_load(int t, const void* p, size_t stride) {
  check();
  for (size_t r = 0; r < 16; ++r)
    std::memcpy(file.t[t][r], static_cast<const std::byte*>(p) + r * stride, kTileRow);
}
[[maybe_unused]] __attribute__((noinline)) void emulate_store(int t, void* p, size_t stride) {
  check();
  for (size_t r = 0; r < 16; ++r)
    std::memcpy(static_cast<std::byte*>(p) + r * stride, file.t[t][r], kTileRow);
}
template <int T>
TOKAMAK_INLINE void zero() {
  emulate_zero(T);
}
template <int T>
TOKAMAK_INLINE void load(const void* p, size_t stride = kTileRow) {
  emulate_load(T, p, stride);
}
template <int T>
TOKAMAK_INLINE void load_once(const void* p, size_t stride = kTileRow) {
  emulate_load(T, p, stride);
}
template <int T>
TOKAMAK_INLINE void store(void* p, size_t stride = kTileRow) {
  emulate_store(T, p, stride);
}
// C[m][n] += sum over pairs of A[m][pair] * B[pair][n]; even and odd inputs are summed apart.
[[maybe_unused]] __attribute__((noinline)) void emulate_dot_bf16(int c_tile, int a_tile,
                                                                 int b_tile) {
  check();
  const __m512i high = _mm512_set1_epi32(static_cast<int>(0xffff0000u));
  for (int m = 0; m < 16; ++m) {
    __m512 even = _mm512_setzero_ps(), odd = even;
    for (int p = 0; p < 16; ++p) {
      uint32_t pair;
      std::memcpy(&pair, file.t[a_tile][m] + 4 * p, 4);
      const __m512i b = _mm512_loadu_si512(file.t[b_tile][p]);
      even = _mm512_fmadd_ps(_mm512_castsi512_ps(_mm512_slli_epi32(b, 16)),
                             _mm512_castsi512_ps(_mm512_set1_epi32(static_cast<int>(pair << 16))),
                             even);
      odd = _mm512_fmadd_ps(
          _mm512_castsi512_ps(_mm512_and_si512(b, high)),
          _mm512_castsi512_ps(_mm512_set1_epi32(static_cast<int>(pair & 0xffff0000u))), odd);
    }
    auto* c = reinterpret_cast<float*>(file.t[c_tile][m]);
    _mm512_storeu_ps(c, _mm512_add_ps(_mm512_loadu_ps(c), _mm512_add_ps(even, odd)));
  }
}
template <int C, int A, int B>
TOKAMAK_INLINE void dot_bf16() {
  emulate_dot_bf16(C, A, B);
}

#else

// Palette 1, hard-coded: CPUID leaf 0x1D reads 0 in some virtual machines. Own assembly, for GCC
// 12's _tile_loadconfig declares 8 of the 64 bytes as read, and its tile loads no memory at all.
struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t column_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
static_assert(sizeof(TileConfig) == 64);

TOKAMAK_INLINE void configure() {
  const TileConfig config;
  asm volatile("ldtilecfg %0" ::"m"(*reinterpret_cast<const char(*)[64]>(&config)));
}
TOKAMAK_INLINE void release() { asm volatile("tilerelease" ::: "memory"); }
template <int T>
TOKAMAK_INLINE void zero() {
  asm volatile("tilezero %%tmm%c0" ::"i"(T));
}
template <int T>
TOKAMAK_INLINE void load(const void* p, size_t stride = kTileRow) {
  asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(p), "r"(stride), "i"(T) : "memory");
}
// Memory that should not displace what the first cache holds.
template <int T>
TOKAMAK_INLINE void load_once(const void* p, size_t stride = kTileRow) {
  asm volatile("tileloaddt1 (%0,%1,1), %%tmm%c2" ::"r"(p), "r"(stride), "i"(T) : "memory");
}
template <int T>
TOKAMAK_INLINE void store(void* p, size_t stride = kTileRow) {
  asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(p), "r"(stride), "i"(T) : "memory");
}
template <int C, int A, int B>
TOKAMAK_INLINE void dot_bf16() {
  asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(C), "i"(A), "i"(B));
}

#endif

}  // namespace tiles
}  // namespace
}  // namespace tokamak
