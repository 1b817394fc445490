#include "base/group_codec.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "base/block_codec.h"
#include "base/half.h"

namespace tokamak {
namespace {

std::vector<DType> formats() {
  std::vector<DType> out = {DType::q8_0, DType::q4_0, DType::q4_1};
  for (int t = static_cast<int>(DType::int8_g64); t <= static_cast<int>(DType::int4a_row); ++t)
    out.push_back(static_cast<DType>(t));
  return out;
}

int64_t columns_of(DType t) { return info(t).block_elems > 0 ? 3 * info(t).block_elems : 90; }

std::vector<float> normal(int64_t n, uint32_t seed, float sigma = 0.02f) {
  std::mt19937 rng(seed);
  std::normal_distribution<float> draw(0, sigma);
  std::vector<float> x(static_cast<size_t>(n));
  for (float& v : x) v = draw(rng);
  return x;
}

std::vector<float> there_and_back(DType t, const std::vector<float>& x, bool best,
                                  const float* weights = nullptr) {
  const auto n = static_cast<int64_t>(x.size());
  std::vector<std::byte> coded(row_bytes(t, n));
  if (best)
    quantize_row_best(t, x.data(), weights, coded.data(), n);
  else
    quantize_row(t, x.data(), coded.data(), n);
  std::vector<float> back(x.size());
  dequantize_row(t, coded.data(), back.data(), n);
  return back;
}

double squared_error(const std::vector<float>& a, const std::vector<float>& b,
                     const float* weights = nullptr) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i)
    sum += (weights ? weights[i] : 1.0) * (double{a[i]} - b[i]) * (double{a[i]} - b[i]);
  return sum;
}

// The formats' definition, bit by bit, in double.
TEST(GroupCodec, ReadsTheDefinedLayout) {
  std::mt19937 rng(11);
  for (int i = static_cast<int>(DType::int8_g64); i <= static_cast<int>(DType::int4a_row); ++i) {
    const auto t = static_cast<DType>(i);
    const GroupFormat f = group_format(t);
    const int64_t n = columns_of(t), group = f.group ? f.group : n;
    std::vector<std::byte> data(row_bytes(t, n));
    for (std::byte& b : data) b = static_cast<std::byte>(rng());
    const auto put = [&](size_t at, float v) {
      const uint16_t h = f32_to_f16(v);
      data[at] = static_cast<std::byte>(h & 255);
      data[at + 1] = static_cast<std::byte>(h >> 8);
    };
    const size_t bytes = data.size() / static_cast<size_t>(n / group), head = f.has_min ? 4 : 2;
    std::vector<float> found(static_cast<size_t>(n));
    for (int64_t g = 0; g < n / group; ++g) {
      put(g * bytes, 0.125f * static_cast<float>(g + 1));
      if (f.has_min) put(g * bytes + 2, -0.5f);
    }
    dequantize_row(t, data.data(), found.data(), n);
    for (int64_t k = 0; k < n; ++k) {
      const std::byte* codes = &data[static_cast<size_t>(k / group) * bytes + head];
      const int64_t at = k % group;
      const double d = 0.125 * static_cast<double>(k / group + 1), m = f.has_min ? -0.5 : 0;
      double q = 0;
      if (f.bits == 8)
        q = f.has_min ? static_cast<uint8_t>(codes[at]) : static_cast<int8_t>(codes[at]);
      else
        q = ((static_cast<int>(codes[at / 2]) >> (at % 2 * 4)) & 15) - (f.has_min ? 0 : 8);
      ASSERT_EQ(found[static_cast<size_t>(k)], static_cast<float>(d * q + m))
          << name(t) << " " << k;
    }
  }
}

// Plain encoding: half a step of error, plus what float16 adds to step and minimum.
TEST(GroupCodec, PlainErrorIsWithinHalfAStep) {
  for (DType t : formats()) {
    const GroupFormat f = weight_only_format(t);
    for (uint32_t seed : {1u, 2u, 3u}) {
      std::vector<float> x = normal(columns_of(t), seed);
      if (seed == 2) x[7] = 3.5f;  // an outlier
      if (seed == 3)
        for (float& v : x) v = std::abs(v) + 1;  // far from zero
      const std::vector<float> back = there_and_back(t, x, false);
      const int64_t n = columns_of(t), group = f.group ? f.group : n;
      for (int64_t i = 0; i < n; ++i) {
        const auto begin = x.begin() + i / group * group;
        const auto [lo, hi] = std::minmax_element(begin, begin + group);
        const double largest = std::max(std::abs(*lo), std::abs(*hi));
        const double levels = (1 << f.bits) - 1;
        const double step = f.has_min ? (*hi - *lo) / levels : largest * 2 / levels;
        // symmetric 4 bits: 7 levels on one side, so the far extreme may be a step off
        const double allowed = (f.has_min || f.bits == 8 ? 0.53 : 1.1) * step + largest * 1e-3;
        ASSERT_NEAR(back[static_cast<size_t>(i)], x[static_cast<size_t>(i)], allowed)
            << name(t) << " seed " << seed << " element " << i;
      }
    }
  }
}

TEST(GroupCodec, SearchIsNeverWorseAndPaysAtFourBits) {
  for (DType t : formats()) {
    const GroupFormat f = weight_only_format(t);
    double plain = 0, best = 0;
    for (uint32_t seed = 0; seed < 20; ++seed) {
      const std::vector<float> x = normal(columns_of(t), 100 + seed);
      const double p = squared_error(x, there_and_back(t, x, false));
      const double b = squared_error(x, there_and_back(t, x, true));
      // q4_0 and q4_1 by quantize_row are GGUF's own encoders, which differ in the last float16 bit
      ASSERT_LE(b, p * (t == DType::q8_0 ? 1.02 : 1.0001)) << name(t) << " seed " << seed;
      plain += p;
      best += b;
    }
    if (f.bits == 4) {
      EXPECT_LT(best, 0.9 * plain) << name(t);
    }
  }
}

// The search against the best of a fine grid of scales, in double.
TEST(GroupCodec, SearchComesNearTheGridsBest) {
  for (uint32_t seed = 0; seed < 8; ++seed) {
    const std::vector<float> x = normal(64, 300 + seed);
    double grid = 1e9;
    for (int sign : {-1, 1})
      for (int s = 1; s <= 4000; ++s) {
        const double d = sign * 0.00001 * s / 2;
        double sum = 0;
        for (float v : x) {
          const double q = std::clamp(std::nearbyint(v / d), -8.0, 7.0);
          sum += (q * d - v) * (q * d - v);
        }
        grid = std::min(grid, sum);
      }
    const double found = squared_error(x, there_and_back(DType::int4_g64, x, true));
    EXPECT_LE(found, grid * 1.03) << "seed " << seed;
  }
}

TEST(GroupCodec, WeightsSteerTheSearch) {
  std::vector<float> x = normal(64, 9), weights(64, 1.0f);
  for (int i = 0; i < 8; ++i) weights[static_cast<size_t>(i * 8)] = 100;
  for (DType t : {DType::int4_g64, DType::int4a_g64}) {
    const double with =
        squared_error(x, there_and_back(t, x, true, weights.data()), weights.data());
    const double without = squared_error(x, there_and_back(t, x, true), weights.data());
    EXPECT_LT(with, without) << name(t);
  }
}

TEST(GroupCodec, ZerosConstantsAndExtremesOfMagnitude) {
  for (DType t : formats())
    for (bool best : {false, true}) {
      const int64_t n = columns_of(t);
      for (float v : there_and_back(t, std::vector<float>(static_cast<size_t>(n)), best))
        ASSERT_EQ(v, 0.0f) << name(t);
      for (float v : there_and_back(t, std::vector<float>(static_cast<size_t>(n), 0.75f), best))
        ASSERT_NEAR(v, 0.75f, 1e-3f) << name(t);
      for (float sigma : {1e-5f, 1e4f}) {  // float16 scales near their ends
        const std::vector<float> x = normal(n, 5, sigma);
        double power = 0;
        for (float v : x) power += double{v} * v;
        ASSERT_LT(squared_error(x, there_and_back(t, x, best)), power) << name(t) << " " << sigma;
      }
    }
}

TEST(GroupCodec, EmptyRowsAndEveryLengthPerRow) {
  for (DType t : {DType::int8_row, DType::int8a_row, DType::int4_row, DType::int4a_row})
    for (int64_t n = 0; n < 40; n += row_step(t)) {
      const std::vector<float> x = normal(n, 40 + static_cast<uint32_t>(n));
      for (bool best : {false, true}) {
        const std::vector<float> back = there_and_back(t, x, best);
        for (size_t i = 0; i < x.size(); ++i) ASSERT_NEAR(back[i], x[i], 0.02f) << name(t);
      }
    }
}

}  // namespace
}  // namespace tokamak
