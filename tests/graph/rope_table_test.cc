// Rope tables against Hugging Face's (tools/make_rope_fixtures.py).
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "base/json.h"
#include "ops/rope.h"

namespace tokamak {
namespace {

TEST(RopeTable, EqualsHuggingFace) {
  const Json cases = load_json(TOKAMAK_TEST_DATA "/graph/rope_tables.json");
  ASSERT_GE(cases.size(), 15u);
  for (const Json& c : cases) {
    SCOPED_TRACE(c["name"].get<std::string>());
    const RopeAttrs attrs = RopeAttrs::from(Attrs::from_json(c["attrs"]));
    const RopeTable table = rope_table(attrs, c["length"].get<int64_t>());
    const auto expected = c["inv_freq"].get<std::vector<double>>();
    ASSERT_EQ(table.inv_freq.size(), expected.size());
    for (size_t i = 0; i < expected.size(); ++i)
      EXPECT_NEAR(table.inv_freq[i], expected[i], expected[i] * 5e-7) << "at " << i;
    EXPECT_NEAR(table.magnitude, c["magnitude"].get<double>(), 1e-6);
  }
}

TEST(RopeTable, AttributesSurviveTheRoundTrip) {
  for (const Json& c : load_json(TOKAMAK_TEST_DATA "/graph/rope_tables.json")) {
    const RopeAttrs attrs = RopeAttrs::from(Attrs::from_json(c["attrs"]));
    Attrs written;
    attrs.write_to(written);
    const RopeAttrs again = RopeAttrs::from(Attrs::from_json(written.to_json()));
    for (const int64_t length : {1, 1000000}) {
      EXPECT_EQ(rope_table(attrs, length).inv_freq, rope_table(again, length).inv_freq);
      EXPECT_EQ(rope_table(attrs, length).magnitude, rope_table(again, length).magnitude);
    }
  }
}

TEST(RopeTable, OnlyTwoKindsDependOnLength) {
  RopeAttrs a;
  for (const char* kind : {"none", "linear", "llama3", "yarn"}) {
    a.scaling.kind = kind;
    EXPECT_FALSE(rope_depends_on_length(a)) << kind;
  }
  for (const char* kind : {"dynamic", "longrope"}) {
    a.scaling.kind = kind;
    EXPECT_TRUE(rope_depends_on_length(a)) << kind;
  }
}

TEST(RopeTable, RefusesWhatItDoesNotKnow) {
  RopeAttrs a{.head_dim = 8, .rotary_dim = 8};
  a.scaling.kind = "spiral";
  EXPECT_THROW(rope_table(a, 1), Error);
  a.scaling.kind = "longrope";
  a.scaling.original_max_position = 16;
  a.scaling.short_factor = {1, 2};
  try {
    rope_table(a, 1);
    FAIL();
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), testing::HasSubstr("short_factor has 2 values, expected 4"));
  }
}

}  // namespace
}  // namespace tokamak
