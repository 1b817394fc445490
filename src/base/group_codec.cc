#include "base/group_codec.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/block_codec.h"
#include "base/error.h"
#include "base/half.h"

namespace tokamak {
namespace {

float half_at(const std::byte* p) {
  uint16_t h;
  std::memcpy(&h, p, 2);
  return f16_to_f32(h);
}

void store_half(std::byte* p, float value) {
  const uint16_t h = f32_to_f16(value);
  std::memcpy(p, &h, 2);
}

size_t header_bytes(const GroupFormat& f) { return f.has_min ? 4 : 2; }

// What a symmetric format subtracts from its levels.
int center(int bits) { return bits == 8 ? 127 : 8; }

void dequantize_group(const GroupFormat& f, const std::byte* in, float* out, int64_t n) {
  const float d = half_at(in), m = f.has_min ? half_at(in + 2) : 0;
  const std::byte* codes = in + header_bytes(f);
  if (f.bits == 8 && !f.has_min) {
    for (int64_t i = 0; i < n; ++i) {
      int8_t q;
      std::memcpy(&q, codes + i, 1);
      out[i] = d * static_cast<float>(q);
    }
    return;
  }
  const int offset = f.has_min ? 0 : center(f.bits);
  for (int64_t i = 0; i < n; ++i) {
    const int byte = static_cast<int>(codes[f.bits == 8 ? i : i / 2]);
    const int q = f.bits == 8 ? byte : (byte >> (i % 2 * 4)) & 15;
    out[i] = d * static_cast<float>(q - offset) + m;
  }
}

void store_group(const GroupFormat& f, GroupScale s, const uint8_t* levels, std::byte* out,
                 int64_t n) {
  store_half(out, s.scale);
  if (f.has_min) store_half(out + 2, s.minimum);
  std::byte* codes = out + header_bytes(f);
  if (f.bits == 8) {
    const int offset = f.has_min ? 0 : center(8);
    for (int64_t i = 0; i < n; ++i) codes[i] = static_cast<std::byte>(levels[i] - offset);
    return;
  }
  for (int64_t i = 0; i < n; i += 2)
    codes[i / 2] = static_cast<std::byte>(levels[i] | levels[i + 1] << 4);
}

// GGUF's blocks of 32: element i shares a byte with i + 16, and q8_0 is int8_g32.
void store_block(DType t, GroupScale s, const uint8_t* levels, std::byte* out) {
  store_half(out, s.scale);
  if (t == DType::q4_1) store_half(out + 2, s.minimum);
  std::byte* codes = out + (t == DType::q4_1 ? 4 : 2);
  for (int i = 0; i < (t == DType::q8_0 ? 32 : 16); ++i)
    codes[i] = t == DType::q8_0 ? static_cast<std::byte>(levels[i] - 127)
                                : static_cast<std::byte>(levels[i] | levels[i + 16] << 4);
}

template <typename Choose>
void encode(DType t, const GroupFormat& f, const float* in, std::byte* out, int64_t n,
            Choose choose) {
  const int64_t group = f.group > 0 ? f.group : n;
  if (group == 0) return;
  std::vector<uint8_t> levels(static_cast<size_t>(group));
  const size_t step = f.group > 0 ? bytes_of(t, group) : 0;
  for (int64_t at = 0; at < n; at += group, out += step) {
    const GroupScale s = choose(at, group);
    group_levels(in + at, group, f.bits, f.has_min, s, levels.data());
    if (group_format(t).bits == 0)
      store_block(t, s, levels.data(), out);
    else
      store_group(f, s, levels.data(), out, group);
  }
}

}  // namespace

GroupFormat weight_only_format(DType t) {
  switch (t) {
    case DType::q8_0:
      return {8, 32, false};
    case DType::q4_0:
      return {4, 32, false};
    case DType::q4_1:
      return {4, 32, true};
    default:
      return group_format(t);
  }
}

void group_levels(const float* x, int64_t n, int bits, bool has_min, GroupScale s,
                  uint8_t* levels) {
  const float inverse = s.scale != 0 ? 1 / s.scale : 0;
  const float most = has_min ? (bits == 8 ? 255.0f : 15.0f) : (bits == 8 ? 254.0f : 15.0f);
  const float offset = has_min ? -s.minimum * inverse : static_cast<float>(center(bits));
  for (int64_t i = 0; i < n; ++i) {
    const float level = std::clamp(x[i] * inverse + offset, 0.0f, most);
    levels[i] = static_cast<uint8_t>(level + 0.5f);
  }
}

void dequantize_groups(DType t, const std::byte* in, float* out, int64_t n) {
  const GroupFormat f = group_format(t);
  if (f.group == 0) return dequantize_group(f, in, out, n);
  for (int64_t at = 0; at < n; at += f.group, in += info(t).block_bytes)
    dequantize_group(f, in, out + at, f.group);
}

void quantize_groups(DType t, const float* in, std::byte* out, int64_t n) {
  const GroupFormat f = group_format(t);
  encode(t, f, in, out, n,
         [&](int64_t at, int64_t count) { return plain_scale(in + at, count, f.bits, f.has_min); });
}

void quantize_row_best(DType t, const float* in, const float* weights, std::byte* out, int64_t n) {
  const GroupFormat f = weight_only_format(t);
  TOKAMAK_ASSERT_MSG(f.bits > 0, "{} is no weight-only format", name(t));
  TOKAMAK_ASSERT(n >= 0 && fits_row(t, n));
  encode(t, f, in, out, n, [&](int64_t at, int64_t count) {
    return best_scale(in + at, weights ? weights + at : nullptr, count, f.bits, f.has_min);
  });
}

}  // namespace tokamak
