#include "base/block_codec.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <random>
#include <vector>

namespace tokamak {
namespace {

TEST(BlockCodec, ReadsWhatTheReferenceReads) {
  std::ifstream in(TOKAMAK_TEST_DATA "/base/block_codec.bin", std::ios::binary);
  const std::vector<char> data{std::istreambuf_iterator<char>(in), {}};
  size_t at = 0, records = 0;
  while (at < data.size()) {
    char name[9] = {};
    uint32_t elems = 0, bytes = 0;
    std::memcpy(name, &data[at], 8);
    std::memcpy(&elems, &data[at + 8], 4);
    std::memcpy(&bytes, &data[at + 12], 4);
    std::vector<float> expected(elems), found(elems);
    std::memcpy(expected.data(), &data[at + 16 + bytes], elems * 4);
    const DType t = parse_dtype(name);
    ASSERT_EQ(bytes_of(t, elems), bytes) << name;
    dequantize_row(t, reinterpret_cast<const std::byte*>(&data[at + 16]), found.data(), elems);
    for (uint32_t i = 0; i < elems; ++i)
      if (std::isnan(expected[i]))
        ASSERT_TRUE(std::isnan(found[i])) << name << " element " << i;
      else
        ASSERT_EQ(expected[i], found[i]) << name << " element " << i;
    at += 16 + bytes + elems * 4;
    ++records;
  }
  EXPECT_EQ(records, 12u);
}

struct Bound {
  DType dtype;
  float relative;  // largest error over the largest magnitude of the row
};

TEST(BlockCodec, RoundTripStaysWithinTheFormatsStep) {
  const Bound bounds[] = {{DType::f32, 0},      {DType::f64, 0},      {DType::f16, 1e-3f},
                          {DType::bf16, 4e-3f}, {DType::q8_0, 5e-3f}, {DType::q6_k, 0.025f},
                          {DType::q5_1, 0.04f}, {DType::q5_0, 0.07f}, {DType::q4_1, 0.08f},
                          {DType::q4_0, 0.13f}, {DType::q4_k, 0.10f}};
  constexpr int64_t n = 4096;
  std::mt19937 rng(7);
  std::normal_distribution<float> normal;
  std::vector<float> x(n), back(n);
  for (float& v : x) v = normal(rng);
  std::fill(x.begin() + 512, x.begin() + 768, 0.0f);   // a block of zeros
  std::fill(x.begin() + 768, x.begin() + 1024, 0.5f);  // a block of one value
  const float largest = std::abs(*std::max_element(
      x.begin(), x.end(), [](float a, float b) { return std::abs(a) < std::abs(b); }));
  for (const Bound& b : bounds) {
    ASSERT_TRUE(can_quantize(b.dtype));
    std::vector<std::byte> coded(bytes_of(b.dtype, n));
    quantize_row(b.dtype, x.data(), coded.data(), n);
    dequantize_row(b.dtype, coded.data(), back.data(), n);
    float worst = 0;
    for (int64_t i = 0; i < n; ++i) worst = std::max(worst, std::abs(x[i] - back[i]) / largest);
    EXPECT_LE(worst, b.relative) << name(b.dtype);
    for (int i = 512; i < 768; ++i) EXPECT_EQ(back[i], 0.0f) << name(b.dtype);
  }
}

TEST(BlockCodec, IntegersAndFlags) {
  const int8_t i8[] = {-128, 0, 127};
  float out[3];
  dequantize_row(DType::i8, reinterpret_cast<const std::byte*>(i8), out, 3);
  EXPECT_EQ(out[0], -128);
  EXPECT_EQ(out[2], 127);
  const uint8_t flags[] = {0, 1, 255};
  dequantize_row(DType::boolean, reinterpret_cast<const std::byte*>(flags), out, 3);
  EXPECT_EQ(out[0] + out[1] + out[2], 2);
}

}  // namespace
}  // namespace tokamak
