// Every family's tiny random checkpoint through the whole pipeline, against transformers in
// float32.
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "accuracy/reference.h"

namespace tokamak {
namespace {

using test::data;

std::vector<std::string> families() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(data("")))
    if (entry.is_directory()) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

struct Difference {
  double largest = 0;  // where the reference's logits have a standard deviation above one: of that
  int64_t rows = 0, same_top = 0;
  double lost_f32 = 0, lost_bf16 = 0;  // by transformers itself, where the fixture says
};

double deviation(std::span<const float> values) {
  double sum = 0, squares = 0;
  for (const float v : values) sum += v, squares += double{v} * v;
  const double n = double(values.size()), mean = sum / n;
  return std::sqrt(std::max(0.0, squares / n - mean * mean));
}

// Scores both sequences of the fixture.
Difference compare(LLM& llm, const SafetensorsFile& reference) {
  Difference d;
  double scale = 1;
  for (const std::string s : {"0", "1"}) {
    const auto tokens = test::values<int32_t>(reference.tensor("tokens" + s));
    const TensorView& logits = reference.tensor("logits" + s);
    scale = std::max(scale, deviation(test::values<float>(logits)));
    llm.score(tokens, [&](int64_t position, std::span<const float> row) {
      const std::span<const float> expected(logits.as<float>() + position * logits.shape.back(),
                                            logits.shape.back());
      ASSERT_EQ(row.size(), expected.size());
      for (size_t i = 0; i < row.size(); ++i)
        d.largest = std::max(d.largest, std::fabs(double(row[i]) - expected[i]));
      ++d.rows;
      d.same_top += test::argmax(row) == test::argmax(expected);
    });
  }
  d.largest /= scale;
  if (reference.tensors().contains("noise")) {
    const auto noise = test::values<float>(reference.tensor("noise"));
    d.lost_f32 = noise[0];
    d.lost_bf16 = noise[1];
  }
  return d;
}

class FamilyLogits : public testing::TestWithParam<std::string> {};

TEST_P(FamilyLogits, Float32EqualsTransformers) {
  const test::TempDir cache("family_logits");
  LLM llm(data(GetParam()), {.device = test::device(),
                             .dtype = "float32",
                             .kv_cache_dtype = "float32",
                             .tuning = false,
                             .cache_dir = cache.path});
  const Difference d = compare(llm, SafetensorsFile(data(GetParam()) / "reference.safetensors"));
  EXPECT_EQ(d.rows, 23 + 61);
  EXPECT_LE(d.largest, std::max(2e-4, 4 * d.lost_f32));
  if (d.lost_f32 == 0) {
    EXPECT_EQ(d.same_top, d.rows);
  }
}

TEST_P(FamilyLogits, ChunkedPrefillChangesNothing) {
  const test::TempDir cache("family_chunks");
  LLM llm(data(GetParam()), {.device = test::device(),
                             .dtype = "float32",
                             .kv_cache_dtype = "float32",
                             .tuning = false,
                             .max_num_tokens = 7,
                             .cache_dir = cache.path});
  const Difference d = compare(llm, SafetensorsFile(data(GetParam()) / "reference.safetensors"));
  // Rope kinds whose table depends on the length see each chunk's own length, as an incremental
  // decode in transformers does; the reference is one pass.
  std::ifstream file(data(GetParam()) / "config.json");
  const std::string config{std::istreambuf_iterator<char>(file), {}};
  ASSERT_FALSE(config.empty());
  const bool by_length =
      config.find("\"dynamic\"") != config.npos || config.find("\"longrope\"") != config.npos;
  if (!by_length) {
    EXPECT_LE(d.largest, std::max(2e-4, 4 * d.lost_f32));
  }
}

TEST_P(FamilyLogits, Bfloat16IsClose) {
  const test::TempDir cache("family_bf16");
  LLM llm(
      data(GetParam()),
      {.device = test::device(), .dtype = "bfloat16", .tuning = false, .cache_dir = cache.path});
  const Difference d = compare(llm, SafetensorsFile(data(GetParam()) / "reference.safetensors"));
  EXPECT_LE(d.largest, std::max(0.15, d.lost_bf16));
  if (d.lost_bf16 < 0.15) {
    EXPECT_GE(d.same_top, d.rows * 9 / 10);
  }
}

INSTANTIATE_TEST_SUITE_P(Families, FamilyLogits, testing::ValuesIn(families()),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace tokamak
