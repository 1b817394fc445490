#include <immintrin.h>

#include <cstdint>

#include "backend/cpu/isa_probe.h"

namespace tokamak::isa_probe {
namespace {

// Palette 1: 8 tiles of 16 rows x 64 bytes. Hard-coded, for CPUID leaf 0x1D reads 0 in some
// machines.
struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t column_bytes[16] = {64, 64, 64};
  uint8_t rows[16] = {16, 16, 16};
};
static_assert(sizeof(TileConfig) == 64);

}  // namespace

// 16 x 16 int32 products of int8 rows: every element is 64 * (2 * 3).
bool amx() {
  const TileConfig config;
  alignas(64) int8_t a[16][64], b[16][64];
  alignas(64) int32_t c[16][16];
  for (auto& row : a)
    for (int8_t& x : row) x = 2;
  for (auto& row : b)
    for (int8_t& x : row) x = 3;
  // Not _tile_loadconfig: GCC 12 declares 8 of its 64 bytes as read and drops the other stores.
  asm volatile("ldtilecfg %0" ::"m"(*reinterpret_cast<const char(*)[64]>(&config)));
  _tile_zero(0);
  _tile_loadd(1, a, 64);
  _tile_loadd(2, b, 64);
  _tile_dpbssd(0, 1, 2);
  _tile_stored(0, c, 64);
  _tile_release();
  asm volatile("" ::: "memory");
  bool right = true;
  for (const auto& row : c)
    for (const int32_t x : row) right &= x == 64 * 2 * 3;
  return right;
}

}  // namespace tokamak::isa_probe
