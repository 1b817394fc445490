// Every family's tiny random checkpoint through the whole pipeline, against transformers in
// float32.
#include <gtest/gtest.h>
#include <unistd.h>

#include "accuracy/reference.h"
#include "base/json.h"

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
  double largest = 0;
  int64_t rows = 0, same_top = 0;
};

// How far logits may be off, which have a standard deviation of about one, and of how many rows the
// largest must be the same. Checkpoints with options at random say it themselves, by their logits'
// deviation and by what transformers loses.
struct Bounds {
  double f32 = 2e-4, bf16 = 0.15;
  double top_f32 = 1, top_bf16 = 0.9;  // of rows
};
Bounds bounds_of(const SafetensorsFile& reference) {
  if (!reference.tensors().contains("bounds")) return {};
  const auto b = test::values<float>(reference.tensor("bounds"));
  return {b[0], b[1], b[2], b[3]};
}

// Scores both sequences of the fixture.
Difference compare(LLM& llm, const SafetensorsFile& reference) {
  Difference d;
  for (const std::string s : {"0", "1"}) {
    const auto tokens = test::values<int32_t>(reference.tensor("tokens" + s));
    const TensorView& logits = reference.tensor("logits" + s);
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
  const SafetensorsFile reference(data(GetParam()) / "reference.safetensors");
  const Difference d = compare(llm, reference);
  const Bounds bounds = bounds_of(reference);
  EXPECT_EQ(d.rows, 23 + 61);
  EXPECT_LE(d.largest, bounds.f32);
  EXPECT_GE(d.same_top, static_cast<int64_t>(bounds.top_f32 * double(d.rows)));
}

TEST_P(FamilyLogits, ChunkedPrefillChangesNothing) {
  const test::TempDir cache("family_chunks");
  LLM llm(data(GetParam()), {.device = test::device(),
                             .dtype = "float32",
                             .kv_cache_dtype = "float32",
                             .tuning = false,
                             .max_num_tokens = 7,
                             .cache_dir = cache.path});
  const SafetensorsFile reference(data(GetParam()) / "reference.safetensors");
  const Difference d = compare(llm, reference);
  // Rope kinds whose table depends on the length see each chunk's own length, as an incremental
  // decode in transformers does; the reference is one pass.
  const std::string config = read_text(data(GetParam()) / "config.json");
  const bool by_length =
      config.find("\"dynamic\"") != config.npos || config.find("\"longrope\"") != config.npos;
  if (!by_length) {
    EXPECT_LE(d.largest, bounds_of(reference).f32);
  }
}

TEST_P(FamilyLogits, Bfloat16IsClose) {
  const test::TempDir cache("family_bf16");
  LLM llm(
      data(GetParam()),
      {.device = test::device(), .dtype = "bfloat16", .tuning = false, .cache_dir = cache.path});
  const SafetensorsFile reference(data(GetParam()) / "reference.safetensors");
  const Difference d = compare(llm, reference);
  const Bounds bounds = bounds_of(reference);
  EXPECT_LE(d.largest, bounds.bf16);
  EXPECT_GE(d.same_top, static_cast<int64_t>(bounds.top_bf16 * double(d.rows)));
}

INSTANTIATE_TEST_SUITE_P(Families, FamilyLogits, testing::ValuesIn(families()),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace tokamak
