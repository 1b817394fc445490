#include "base/f8_row.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "base/f8.h"

namespace tokamak {
namespace {

constexpr std::array<float, 256> make_values() {
  std::array<float, 256> t{};
  for (int i = 0; i < 256; ++i) t[static_cast<size_t>(i)] = f8e4m3_to_f32(static_cast<uint8_t>(i));
  return t;
}
constexpr std::array<float, 256> kValues = make_values();
constexpr float kLeast = 1e-30f;

}  // namespace

void dequantize_f8(const std::byte* in, float* out, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] = kValues[std::to_integer<size_t>(in[i])];
}

void quantize_f8(const float* in, std::byte* out, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] = std::byte{f32_to_f8e4m3(in[i])};
}

void dequantize_f8_row(const std::byte* in, float* out, int64_t n) {
  float scale;
  std::memcpy(&scale, in, sizeof(scale));
  in += sizeof(scale);
  for (int64_t i = 0; i < n; ++i) out[i] = scale * kValues[std::to_integer<size_t>(in[i])];
}

void quantize_f8_row(const float* in, std::byte* out, int64_t n) {
  float largest = 0;
  for (int64_t i = 0; i < n; ++i) largest = std::max(largest, std::abs(in[i]));
  const bool zero = largest < kLeast;
  const float scale = zero ? 0 : largest / kLargestF8, inverse = zero ? 0 : kLargestF8 / largest;
  std::memcpy(out, &scale, sizeof(scale));
  out += sizeof(scale);
  for (int64_t i = 0; i < n; ++i) out[i] = std::byte{f32_to_f8e4m3(in[i] * inverse)};
}

}  // namespace tokamak
