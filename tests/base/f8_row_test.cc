#include "base/f8_row.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <random>
#include <vector>

#include "base/block_codec.h"
#include "base/f8.h"

namespace tokamak {
namespace {

// The format's definition in double.
double value_of(int code) {
  const int exponent = code >> 3 & 15, fraction = code & 7;
  const double v =
      exponent == 0 ? std::ldexp(fraction, -9) : std::ldexp(8 + fraction, exponent - 10);
  return code & 128 ? -v : v;
}

TEST(F8, ReadsEveryCode) {
  for (int i = 0; i < 256; ++i) {
    const float v = f8e4m3_to_f32(static_cast<uint8_t>(i));
    if ((i & 127) == 127)
      EXPECT_TRUE(std::isnan(v)) << i;
    else
      EXPECT_EQ(v, value_of(i)) << i;
  }
}

TEST(F8, WritesTheNearestEvenCode) {
  for (int i = 0; i < 126; ++i) {
    const double low = value_of(i), high = value_of(i + 1), half = (low + high) / 2;
    const auto even = static_cast<uint8_t>(i % 2 == 0 ? i : i + 1);
    EXPECT_EQ(f32_to_f8e4m3(static_cast<float>(low)), i);
    EXPECT_EQ(f32_to_f8e4m3(static_cast<float>(half)), even) << i;
    EXPECT_EQ(f32_to_f8e4m3(std::nextafter(static_cast<float>(half), 0.0f)), i);
    EXPECT_EQ(f32_to_f8e4m3(std::nextafter(static_cast<float>(half), 500.0f)), i + 1);
    EXPECT_EQ(f32_to_f8e4m3(-static_cast<float>(half)), even | 128);
  }
}

TEST(F8, SaturatesAndKeepsNaN) {
  for (const float v : {448.0f, 449.0f, 464.0f, 1e30f, std::numeric_limits<float>::infinity()}) {
    EXPECT_EQ(f32_to_f8e4m3(v), 0x7e) << v;
    EXPECT_EQ(f32_to_f8e4m3(-v), 0xfe) << v;
  }
  EXPECT_EQ(f32_to_f8e4m3(std::numeric_limits<float>::quiet_NaN()) & 127, 127);
  EXPECT_EQ(f32_to_f8e4m3(-0.0f), 0x80);
}

TEST(F8Row, KeepsSixteenthsOfEachValue) {
  std::mt19937 rng(7);
  for (const float sigma : {1e-20f, 0.02f, 1e20f}) {
    std::normal_distribution<float> draw(0, sigma);
    std::vector<float> x(577), back(577);
    for (float& v : x) v = draw(rng);
    std::vector<std::byte> row(row_bytes(DType::f8_row, 577));
    quantize_row(DType::f8_row, x.data(), row.data(), 577);
    dequantize_row(DType::f8_row, row.data(), back.data(), 577);
    float largest = 0;
    for (const float v : x) largest = std::max(largest, std::abs(v));
    for (size_t i = 0; i < x.size(); ++i)
      ASSERT_NEAR(back[i], x[i], std::abs(x[i]) / 15.99f + largest * 0x1p-18f) << sigma << " " << i;
  }
}

TEST(F8Row, ZerosStayAndTheLargestIsExact) {
  std::vector<float> x = {0, 0, 0}, back(3);
  std::vector<std::byte> row(row_bytes(DType::f8_row, 3));
  quantize_row(DType::f8_row, x.data(), row.data(), 3);
  dequantize_row(DType::f8_row, row.data(), back.data(), 3);
  EXPECT_EQ(back, x);
  x = {-3.5f, 1.75f, 0.4375f};
  quantize_row(DType::f8_row, x.data(), row.data(), 3);
  dequantize_row(DType::f8_row, row.data(), back.data(), 3);
  EXPECT_EQ(back, x);
  EXPECT_EQ(parse_dtype("fp8"), DType::f8_row);
}

}  // namespace
}  // namespace tokamak
