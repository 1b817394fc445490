#include "host_tensor.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "backend/cpu/element.h"
#include "base/half.h"

namespace tokamak::test {
namespace {

// Where a block keeps its float16 scales, and how large they are for weights of about ±1.
struct BlockScales {
  DType dtype;
  int offsets[2];  // -1: none
  float size;
};
constexpr BlockScales kBlockScales[] = {
    {DType::q4_0, {0, -1}, 0.1f},    {DType::q4_1, {0, 2}, 0.1f},
    {DType::q5_0, {0, -1}, 0.05f},   {DType::q5_1, {0, 2}, 0.05f},
    {DType::q8_0, {0, -1}, 0.01f},   {DType::q2_k, {80, 82}, 0.02f},
    {DType::q3_k, {108, -1}, 0.01f}, {DType::q4_k, {0, 2}, 0.002f},
    {DType::q5_k, {0, 2}, 0.001f},   {DType::q6_k, {208, -1}, 0.0005f},
};

BlockScales scales_of(DType t) {
  for (const BlockScales& s : kBlockScales)
    if (s.dtype == t) return s;
  const GroupFormat f = group_format(t);
  TOKAMAK_ASSERT_MSG(f.bits != 0, "dtype {}", name(t));
  return {t, {0, f.has_min ? 2 : -1}, f.bits == 8 ? 0.01f : 0.1f};
}

void load_values(HostTensor& t) {
  const size_t row = row_bytes(t.type.dtype, t.width());
  std::vector<float> values(static_cast<size_t>(t.width()));
  for (int64_t r = 0; r < t.rows(); ++r) {
    load_row(t.type.dtype, &t.bytes[static_cast<size_t>(r) * row], t.width(), values.data());
    std::copy(values.begin(), values.end(), &t.values[static_cast<size_t>(r * t.width())]);
  }
}

// Any codes but NaN.
void random_f8_rows(HostTensor& t, Rng& rng) {
  std::uniform_real_distribution<float> size(-0.01f, 0.01f);
  for (std::byte& b : t.bytes) {
    b = static_cast<std::byte>(rng());
    if ((b & std::byte{0x7f}) == std::byte{0x7f}) b &= std::byte{0xfe};
  }
  const size_t row = row_bytes(t.type.dtype, t.width());
  for (size_t at = 0; at < t.bytes.size(); at += row) {
    const float scale = size(rng);
    std::memcpy(&t.bytes[at], &scale, sizeof(scale));
  }
  load_values(t);
}

void random_blocks(HostTensor& t, Rng& rng) {
  if (t.type.dtype == DType::f8_row) return random_f8_rows(t, rng);
  const BlockScales scales = scales_of(t.type.dtype);
  std::uniform_real_distribution<float> size(-scales.size, scales.size);
  for (std::byte& b : t.bytes) b = static_cast<std::byte>(rng());
  const size_t row = row_bytes(t.type.dtype, t.width());
  const int elems = info(t.type.dtype).block_elems;
  const size_t block = elems == 0 ? row : static_cast<size_t>(info(t.type.dtype).block_bytes);
  for (size_t at = 0; at < t.bytes.size(); at += block)
    for (const int offset : scales.offsets) {
      const uint16_t h = f32_to_f16(size(rng));
      if (offset >= 0) std::memcpy(&t.bytes[at + static_cast<size_t>(offset)], &h, 2);
    }
  load_values(t);
}

double random_value(Fill fill, Rng& rng) {
  std::normal_distribution<double> normal(0, 1);
  const double v = normal(rng);
  const uint64_t dice = rng() % 100;
  if (fill == Fill::outliers && dice < 2) return v * 60;
  if (fill == Fill::nonfinite && dice < 2) {
    constexpr double kInf = std::numeric_limits<double>::infinity();
    const double odd[] = {kInf, -kInf, std::numeric_limits<double>::quiet_NaN()};
    return odd[rng() % 3];
  }
  return v;
}

}  // namespace

std::string_view name(Fill f) {
  return f == Fill::gaussian ? "gaussian" : f == Fill::outliers ? "outliers" : "nonfinite";
}

int64_t HostTensor::rows() const {
  int64_t n = 1;
  for (size_t i = 0; i + 1 < shape.size(); ++i) n *= shape[i];
  return n;
}

HostTensor zeros(const ValueType& type, int64_t tokens, int64_t sequences) {
  HostTensor t{type, {}, {}, {}, {}};
  int64_t elems = 1;
  for (const Dim& d : type.shape) {
    t.shape.push_back(d.resolve(tokens, sequences));
    elems *= t.shape.back();
  }
  t.values.assign(static_cast<size_t>(elems), 0.0);
  const int64_t width = t.width();
  const int64_t rows = width == 0 ? 0 : elems / width;
  t.bytes.assign(row_bytes(type.dtype, width) * static_cast<size_t>(rows), std::byte{0});
  return t;
}

HostTensor random_tensor(const ValueType& type, int64_t tokens, int64_t sequences, Fill fill,
                         Rng& rng) {
  HostTensor t = zeros(type, tokens, sequences);
  if (is_block_format(type.dtype)) {
    random_blocks(t, rng);
    return t;
  }
  for (size_t i = 0; i < t.values.size(); ++i) {
    const double v = is_float(type.dtype) ? random_value(fill, rng)
                                          : static_cast<double>(static_cast<int>(rng() % 100));
    store_element(type.dtype, t.bytes.data(), static_cast<int64_t>(i), v);
    t.values[i] = load_element(type.dtype, t.bytes.data(), static_cast<int64_t>(i));
  }
  return t;
}

double round_to(DType t, double v) {
  std::byte b[8];
  store_element(t, b, 0, v);
  return load_element(t, b, 0);
}

}  // namespace tokamak::test
