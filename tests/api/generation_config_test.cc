#include "api/generation_config.h"

#include <gmock/gmock.h>

#include "base/error.h"
#include "formats/temp_dir.h"

namespace tokamak {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class GenerationConfig : public testing::Test {
 protected:
  SamplingParams read(const std::string& text) {
    dir_.write("generation_config.json", text);
    return read_generation_config(dir_.path(), nullptr);
  }
  std::string refusal(const std::string& text) {
    return error_of([&] { read(text); });
  }
  TempDir dir_;
};

TEST_F(GenerationConfig, SamplesOnlyWhenAskedTo) {
  EXPECT_EQ(read_generation_config(dir_.path(), nullptr).temperature, 0);
  EXPECT_EQ(read(R"({"temperature":0.6})").temperature, 0);
  const SamplingParams p =
      read(R"({"do_sample":true,"temperature":0.6,"top_k":5.0,"top_p":null,"eos_token_id":[7,9]})");
  EXPECT_EQ(p.temperature, 0.6);
  EXPECT_EQ(p.top_k, 5);
  EXPECT_EQ(p.top_p, 1);
  EXPECT_THAT(p.stop_token_ids, ElementsAre(7, 9));
  EXPECT_THAT(read(R"({"eos_token_id":2})").stop_token_ids, ElementsAre(2));
}

// Numbers that the field's type does not hold are refused, not cut down to some other token.
TEST_F(GenerationConfig, RefusesWhatNoFieldHolds) {
  for (const char* id : {"1e300", "4294967298", "-1", "[2,4294967298]", "\"2\"", "2.5"})
    EXPECT_THAT(refusal(std::string(R"({"eos_token_id":)") + id + "}"), HasSubstr("eos_token_id"))
        << id;
  EXPECT_THAT(refusal(R"({"top_k":1e300})"), HasSubstr("top_k"));
  EXPECT_THAT(refusal(R"({"top_p":true})"), HasSubstr("top_p"));
  EXPECT_THAT(refusal(R"({"top_p":1.5})"), HasSubstr("generation_config.json"));
  EXPECT_THAT(refusal("[]"), HasSubstr("generation_config.json"));
}

}  // namespace
}  // namespace tokamak
