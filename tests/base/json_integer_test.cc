#include "base/json_integer.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/error.h"

namespace tokamak {
namespace {

TEST(JsonInteger, HoldsTheWholeRange) {
  EXPECT_EQ(json_integer<int32_t>(Json(INT32_MIN)), INT32_MIN);
  EXPECT_EQ(json_integer<int32_t>(Json(INT32_MAX)), INT32_MAX);
  EXPECT_EQ(json_integer<int64_t>(Json(INT64_MIN)), INT64_MIN);
  EXPECT_EQ(json_integer<uint64_t>(Json(INT64_MAX)), uint64_t{INT64_MAX});
}

TEST(JsonInteger, RefusesTheRest) {
  for (const char* text : {"2147483648", "-2147483649", "4294967297", "1e300", "-1.5", "3.0",
                           "true", "null", "\"1\"", "[1]", "18446744073709551615"})
    EXPECT_THROW(json_integer<int32_t>(Json::parse(text)), Error) << text;
  EXPECT_THROW(json_integer<uint64_t>(Json(-1)), Error);
  EXPECT_THROW(json_integer<uint64_t>(Json(UINT64_MAX)), Error);
}

}  // namespace
}  // namespace tokamak
