// Scalar conversions between float32 and 8-bit floats of 4 exponent and 3 fraction bits (e4m3: no
// infinity, 448 is the largest). As half.h: constexpr and internal to the including unit.
#pragma once
#include <bit>
#include <cstdint>

namespace tokamak {
namespace {

[[maybe_unused]] constexpr float kLargestF8 = 448;

[[maybe_unused]] constexpr float f8e4m3_to_f32(uint8_t v) {
  const uint32_t sign = (v & 0x80u) << 24, exponent = (v >> 3) & 15, fraction = v & 7;
  if (exponent == 15 && fraction == 7) return std::bit_cast<float>(sign | 0x7fc00000u);
  if (exponent == 0) {
    const float subnormal = static_cast<float>(fraction) * 0x1p-9f;
    return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(subnormal));
  }
  return std::bit_cast<float>(sign | ((exponent + 120) << 23) | (fraction << 20));
}

// To nearest even; what is larger than 448, infinity too, becomes 448.
[[maybe_unused]] constexpr uint8_t f32_to_f8e4m3(float f) {
  const uint32_t u = std::bit_cast<uint32_t>(f), a = u & 0x7fffffffu;
  const uint32_t sign = (u >> 24) & 0x80u;
  if (a > 0x7f800000u) return static_cast<uint8_t>(sign | 0x7fu);   // NaN
  if (a >= 0x43e00000u) return static_cast<uint8_t>(sign | 0x7eu);  // 448 and more
  if (a < 0x3c800000u) {  // below 2^-6: let the FPU round at 2^-9
    const float shifted = std::bit_cast<float>(a) + 0x1p14f;
    return static_cast<uint8_t>(sign | (std::bit_cast<uint32_t>(shifted) - 0x46800000u));
  }
  return static_cast<uint8_t>(sign | ((a + 0x7ffffu + ((a >> 20) & 1u) - 0x3c000000u) >> 20));
}

}  // namespace
}  // namespace tokamak
