// Writing: float32 to the dtypes that tests, random weights and convert need.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "base/block_codec.h"
#include "base/error.h"
#include "base/f8_row.h"
#include "base/group_codec.h"
#include "base/half.h"

namespace tokamak {
namespace {

template <typename T>
void store(std::byte* p, T value) {
  std::memcpy(p, &value, sizeof(T));
}

// Stores d as float16 and returns what a reader will see.
float store_half(std::byte* p, float d) {
  const uint16_t h = f32_to_f16(d);
  store(p, h);
  return f16_to_f32(h);
}

float inverse(float d) { return d != 0 ? 1 / d : 0; }

int to_level(float scaled, int most) {
  return std::clamp(static_cast<int>(std::lround(scaled)), 0, most);
}

// The element of the largest magnitude, with its sign.
float extreme(const float* x, int n) {
  float best = 0;
  for (int i = 0; i < n; ++i)
    if (std::abs(x[i]) > std::abs(best)) best = x[i];
  return best;
}

// Levels of 32 elements into nibbles (element i with i + 16) and, for 5 bits, a mask of high bits.
void store_levels(const std::array<int, 32>& q, std::byte* high, std::byte* low) {
  uint32_t mask = 0;
  for (int i = 0; i < 16; ++i) {
    low[i] = static_cast<std::byte>((q[i] & 15) | ((q[i + 16] & 15) << 4));
    mask |= static_cast<uint32_t>(q[i] >> 4) << i | static_cast<uint32_t>(q[i + 16] >> 4)
                                                        << (i + 16);
  }
  if (high) store(high, mask);
}

// q4_0, q5_0: levels around `offset`; the extreme element is exact at level 0.
void signed_block(const float* x, std::byte* b, int offset) {
  const float inv = inverse(store_half(b, extreme(x, 32) / static_cast<float>(-offset)));
  std::array<int, 32> q;
  for (int i = 0; i < 32; ++i)
    q[i] = to_level(x[i] * inv + static_cast<float>(offset), 2 * offset - 1);
  store_levels(q, offset == 16 ? b + 2 : nullptr, offset == 16 ? b + 6 : b + 2);
}

// q4_1, q5_1: levels from the minimum up.
void ranged_block(const float* x, std::byte* b, int most) {
  const auto [lo, hi] = std::minmax_element(x, x + 32);
  const float inv = inverse(store_half(b, (*hi - *lo) / static_cast<float>(most)));
  const float minimum = store_half(b + 2, *lo);
  std::array<int, 32> q;
  for (int i = 0; i < 32; ++i) q[i] = to_level((x[i] - minimum) * inv, most);
  store_levels(q, most == 31 ? b + 4 : nullptr, most == 31 ? b + 8 : b + 4);
}

void q8_0(const float* x, std::byte* b) {
  const float inv = inverse(store_half(b, std::abs(extreme(x, 32)) / 127));
  for (int i = 0; i < 32; ++i)
    store(b + 2 + i, static_cast<int8_t>(std::clamp(std::lround(x[i] * inv), -127L, 127L)));
}

void pack_scale_min(std::byte* out, const std::array<int, 8>& scale,
                    const std::array<int, 8>& low) {
  std::array<uint8_t, 12> p{};
  for (int i = 0; i < 4; ++i) {
    p[i] = static_cast<uint8_t>(scale[i] | ((scale[i + 4] >> 4) << 6));
    p[i + 4] = static_cast<uint8_t>(low[i] | ((low[i + 4] >> 4) << 6));
    p[i + 8] = static_cast<uint8_t>((scale[i + 4] & 15) | ((low[i + 4] & 15) << 4));
  }
  std::memcpy(out, p.data(), p.size());
}

// 8 sub-blocks of 32 with 6-bit scale and minimum (subtracted, so never negative).
void q4_k(const float* x, std::byte* b) {
  std::array<float, 8> step, low;
  for (int i = 0; i < 8; ++i) {
    const auto [lo, hi] = std::minmax_element(x + i * 32, x + i * 32 + 32);
    low[i] = std::max(0.0f, -*lo);
    step[i] = std::max(0.0f, (*hi + low[i]) / 15);
  }
  const float d = store_half(b, *std::max_element(step.begin(), step.end()) / 63);
  const float dmin = store_half(b + 2, *std::max_element(low.begin(), low.end()) / 63);
  std::array<int, 8> scale, minimum;
  for (int i = 0; i < 8; ++i) {
    scale[i] = to_level(step[i] * inverse(d), 63);
    minimum[i] = to_level(low[i] * inverse(dmin), 63);
  }
  pack_scale_min(b + 4, scale, minimum);
  std::memset(b + 16, 0, 128);
  for (int i = 0; i < 8; ++i) {
    const float inv = inverse(d * static_cast<float>(scale[i]));
    const float base = dmin * static_cast<float>(minimum[i]);
    for (int l = 0; l < 32; ++l)
      b[16 + i / 2 * 32 + l] |=
          static_cast<std::byte>(to_level((x[i * 32 + l] + base) * inv, 15) << (i % 2 * 4));
  }
}

// 16 sub-blocks of 16 with int8 scales and 6-bit signed levels.
void q6_k(const float* x, std::byte* b) {
  std::array<float, 16> step;
  float largest = 0;
  for (int i = 0; i < 16; ++i) {
    step[i] = extreme(x + i * 16, 16) / -32;
    if (std::abs(step[i]) > std::abs(largest)) largest = step[i];
  }
  std::memset(b, 0, 208);
  const float d = store_half(b + 208, largest / -128);
  for (int i = 0; i < 16; ++i) {
    const long scale = std::clamp(std::lround(step[i] * inverse(d)), -128L, 127L);
    store(b + 192 + i, static_cast<int8_t>(scale));
    const float inv = inverse(d * static_cast<float>(scale));
    const int half = i / 8, part = i % 8 / 2;
    for (int l = 0; l < 16; ++l) {
      const int q = to_level(x[i * 16 + l] * inv + 32, 63), at = i % 2 * 16 + l;
      b[half * 64 + part % 2 * 32 + at] |= static_cast<std::byte>((q & 15) << (part / 2 * 4));
      b[128 + half * 32 + at] |= static_cast<std::byte>((q >> 4) << (2 * part));
    }
  }
}

template <typename Encode>
void blocks(DType t, const float* in, std::byte* out, int64_t n, Encode encode) {
  const DTypeInfo& f = info(t);
  for (int64_t i = 0; i < n / f.block_elems; ++i)
    encode(in + i * f.block_elems, out + i * f.block_bytes);
}

}  // namespace

bool can_quantize(DType t) {
  switch (t) {
    case DType::f32:
    case DType::f16:
    case DType::bf16:
    case DType::f64:
    case DType::q4_0:
    case DType::q4_1:
    case DType::q5_0:
    case DType::q5_1:
    case DType::q8_0:
    case DType::q4_k:
    case DType::q6_k:
    case DType::f8e4m3:
    case DType::f8_row:
      return true;
    default:
      return group_format(t).bits > 0;
  }
}

void quantize_row(DType t, const float* in, std::byte* out, int64_t n) {
  TOKAMAK_ASSERT(n >= 0 && fits_row(t, n));
  if (group_format(t).bits > 0) return quantize_groups(t, in, out, n);
  using F = const float*;
  using B = std::byte*;
  switch (t) {
    case DType::f32:
      std::memcpy(out, in, static_cast<size_t>(n) * 4);
      return;
    case DType::f16:
      for (int64_t i = 0; i < n; ++i) store(out + 2 * i, f32_to_f16(in[i]));
      return;
    case DType::bf16:
      for (int64_t i = 0; i < n; ++i) store(out + 2 * i, f32_to_bf16(in[i]));
      return;
    case DType::f64:
      for (int64_t i = 0; i < n; ++i) store(out + 8 * i, double{in[i]});
      return;
    case DType::f8e4m3:
      return quantize_f8(in, out, n);
    case DType::f8_row:
      return quantize_f8_row(in, out, n);
    case DType::q4_0:
      return blocks(t, in, out, n, [](F x, B b) { signed_block(x, b, 8); });
    case DType::q5_0:
      return blocks(t, in, out, n, [](F x, B b) { signed_block(x, b, 16); });
    case DType::q4_1:
      return blocks(t, in, out, n, [](F x, B b) { ranged_block(x, b, 15); });
    case DType::q5_1:
      return blocks(t, in, out, n, [](F x, B b) { ranged_block(x, b, 31); });
    case DType::q8_0:
      return blocks(t, in, out, n, q8_0);
    case DType::q4_k:
      return blocks(t, in, out, n, q4_k);
    case DType::q6_k:
      return blocks(t, in, out, n, q6_k);
    default:
      TOKAMAK_ASSERT_MSG(false, "no encoder for {}", name(t));
  }
}

}  // namespace tokamak
