#include "base/dtype.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "base/half.h"

namespace tokamak {
namespace {

TEST(DType, NamesParseBack) {
  for (int i = 0; i < kDTypeCount; ++i) {
    const auto t = static_cast<DType>(i);
    EXPECT_EQ(parse_dtype(info(t).name), t);
    EXPECT_EQ(parse_dtype(info(t).long_name), t);
  }
  EXPECT_THROW(parse_dtype("float7"), Error);
}

TEST(DType, BytesCountWholeBlocks) {
  EXPECT_EQ(bytes_of(DType::q4_1, 64), 40u);
  EXPECT_EQ(bytes_of(DType::q6_k, 512), 420u);
  EXPECT_EQ(bytes_of(DType::bf16, 7), 14u);
}

TEST(Half, EveryF16SurvivesTheRoundTrip) {
  for (uint32_t h = 0; h < 0x10000; ++h) {
    const float f = f16_to_f32(static_cast<uint16_t>(h));
    if (std::isnan(f)) {
      EXPECT_TRUE(std::isnan(f16_to_f32(f32_to_f16(f))));
    } else {
      EXPECT_EQ(f32_to_f16(f), h);
    }
  }
}

TEST(Half, EveryBf16SurvivesTheRoundTripAndTiesGoToEven) {
  for (uint32_t h = 0; h < 0x10000; ++h) {
    const float f = bf16_to_f32(static_cast<uint16_t>(h));
    if (!std::isnan(f)) {
      EXPECT_EQ(f32_to_bf16(f), h);
    }
  }
  EXPECT_EQ(f32_to_bf16(1.00390625f), 0x3f80);  // halfway between 1 and 1.0078125: even is 1
}

}  // namespace
}  // namespace tokamak
