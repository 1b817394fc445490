#include "engine/random_weights.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/f8.h"
#include "base/half.h"

namespace tokamak {
namespace {

constexpr size_t kTable = 262139;  // a prime: no width of a matrix divides it

// splitmix64
uint64_t next(uint64_t& state) {
  uint64_t z = state += 0x9e3779b97f4a7c15ull;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}

// Where the blocks of a format keep their scale and minimum, and what codes mean.
struct Scales {
  int scale = 0, minimum = -1;  // offsets in a block, float16; minimum -1: none
  float range = 0;              // half the codes' range: values are scale * (-range … range)
  float low = 0;                // minimum / (scale * range)
};

Scales scales_of(DType t) {
  if (const GroupFormat f = group_format(t); f.bits > 0) {
    const float half = f.bits == 8 ? 127.5f : f.has_min ? 7.5f : 8.0f;
    return f.has_min ? Scales{0, 2, half, -1} : Scales{0, -1, half, 0};
  }
  switch (t) {
    case DType::q4_0:
      return {0, -1, 8, 0};
    case DType::q4_1:
      return {0, 2, 8, -1};
    case DType::q5_0:
      return {0, -1, 16, 0};
    case DType::q5_1:
      return {0, 2, 16, -1};
    case DType::q8_0:
      return {0, -1, 127, 0};
    case DType::q4_k:  // 6-bit scales of groups; the minimum is subtracted
      return {0, 2, 8 * 32, 1.0f / 32};
    case DType::q5_k:
      return {0, 2, 16 * 32, 1.0f / 32};
    case DType::q6_k:
      return {208, -1, 32 * 64, 0};
    default:
      fail("random weights of dtype {} are not made", name(t));
  }
}

// int8 codes have no -128 where they are symmetric.
bool symmetric_bytes(DType t) {
  const GroupFormat f = group_format(t);
  return t == DType::q8_0 || (f.bits == 8 && !f.has_min);
}

int64_t width(const PlanWeight& w) { return w.shape.empty() ? 1 : w.shape.back(); }

void copy_window(const std::vector<std::byte>& table, size_t at, std::byte* to, size_t bytes) {
  while (bytes > 0) {
    const size_t n = std::min(bytes, table.size() - at);
    std::memcpy(to, table.data() + at, n);
    to += n;
    bytes -= n;
    at = 0;
  }
}

void set_scales(DType t, float spread, std::byte* row, size_t bytes) {
  if (t == DType::f8_row) {
    const float scale = spread / 448;
    std::memcpy(row, &scale, 4);
    return;
  }
  const Scales s = scales_of(t);
  const uint16_t scale = f32_to_f16(spread / s.range), minimum = f32_to_f16(spread * s.low);
  const size_t block = info(t).block_elems > 0 ? static_cast<size_t>(info(t).block_bytes) : bytes;
  for (size_t at = 0; at + block <= bytes; at += block) {
    std::memcpy(row + at + s.scale, &scale, 2);
    if (s.minimum >= 0) std::memcpy(row + at + s.minimum, &minimum, 2);
  }
}

}  // namespace

RandomWeights::RandomWeights(uint64_t seed) : seed_(seed), units_(kTable) {
  uint64_t state = seed;
  for (float& u : units_) u = static_cast<float>(next(state) >> 40) * 0x1p-23f - 1;
}

int64_t RandomWeights::rows(const PlanWeight& w) {
  int64_t n = 1;
  for (size_t d = 0; d + 1 < w.shape.size(); ++d) n *= w.shape[d];
  return n;
}

size_t RandomWeights::row_bytes(const PlanWeight& w) {
  return tokamak::row_bytes(w.dtype, width(w));
}

RandomWeights::Kind RandomWeights::kind_of(const PlanWeight& w) {
  const bool vector = w.shape.size() < 2;
  const bool norm = vector && w.names[0].ends_with("weight");
  const float spread = vector ? 0.05f : 1.7f / std::sqrt(static_cast<float>(width(w)));
  return {w.dtype, norm ? 1.0f : 0.0f, spread};
}

std::vector<std::byte> RandomWeights::values(const Kind& k) const {
  const size_t size = k.dtype == DType::f8_row ? 1 : static_cast<size_t>(info(k.dtype).block_bytes);
  std::vector<std::byte> table(kTable * size);
  for (size_t i = 0; i < kTable; ++i) {
    const float value = k.center + k.spread * units_[i];
    if (k.dtype == DType::f8_row) {  // codes: the scale stands before them
      table[i] = std::byte{f32_to_f8e4m3(448 * units_[i])};
      continue;
    }
    const uint16_t half = k.dtype == DType::f16 ? f32_to_f16(value) : f32_to_bf16(value);
    if (k.dtype == DType::f32)
      std::memcpy(&table[i * 4], &value, 4);
    else if (k.dtype == DType::f16 || k.dtype == DType::bf16)
      std::memcpy(&table[i * 2], &half, 2);
    else
      fail("random weights of dtype {} are not made", name(k.dtype));
  }
  return table;
}

std::vector<std::byte> RandomWeights::codes(DType dtype) const {
  scales_of(dtype);  // Error: an unknown format
  std::vector<std::byte> table(kTable);
  uint64_t state = ~seed_;
  for (std::byte& b : table) {
    b = static_cast<std::byte>(next(state) >> 56);
    if (b == std::byte{0x80} && symmetric_bytes(dtype)) b = std::byte{0};
  }
  return table;
}

void RandomWeights::prepare(const PlanWeight& w) {
  const Kind k = kind_of(w);
  if (const auto [it, added] = tables_.try_emplace(k); added)
    it->second = is_block_format(k.dtype) && k.dtype != DType::f8_row ? codes(k.dtype) : values(k);
}

void RandomWeights::write_rows(const PlanWeight& w, int64_t begin, int64_t end,
                               std::byte* to) const {
  const Kind k = kind_of(w);
  const std::vector<std::byte>& table = tables_.at(k);
  const size_t bytes = row_bytes(w);
  const size_t unit = is_block_format(k.dtype) ? 1 : static_cast<size_t>(info(k.dtype).block_bytes);
  uint64_t first = seed_;
  for (const char c : w.names[0]) first = first * 31 + static_cast<unsigned char>(c);
  for (int64_t r = begin; r < end; ++r, to += bytes) {
    const uint64_t element = first % kTable + static_cast<uint64_t>(r) * (bytes / unit) % kTable;
    copy_window(table, element % kTable * unit, to, bytes);
    if (is_block_format(k.dtype)) set_scales(k.dtype, k.spread, to, bytes);
  }
}

}  // namespace tokamak
