#include "formats/gguf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "formats/gguf_builder.h"
#include "formats/gguf_writer.h"
#include "formats/temp_dir.h"

namespace tokamak {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string error_for(const std::string& content) {
  const TempDir dir;
  const auto path = dir.write("m.gguf", content);
  return error_of([&] { GgufFile f(path); });
}

GgufBuilder sample(uint32_t version = 3) {
  GgufBuilder b(version);
  b.add("general.architecture", "llama").add("llama.block_count", 2u).add("f", 0.5f);
  b.add_bool("yes", true);
  b.raw("i64", GgufType::i64, GgufBuilder::bytes<int64_t>(-3));
  b.add_array<std::string>("tokenizer.ggml.tokens", GgufType::string, {"a", "bc", ""});
  b.add_array<int32_t>("ints", GgufType::i32, {-1, 2});
  b.add_array<float>("floats", GgufType::f32, {0.5f, -1});
  b.tensor("a", 0, {2, 3}, std::string(24, '\1'));
  b.tensor("q", 2, {2, 32}, std::string(36, '\2'));
  return b;
}

TEST(Gguf, ReadsValuesAndTensors) {
  const TempDir dir;
  for (uint32_t version : {2u, 3u}) {
    const GgufFile f(dir.write("m.gguf", sample(version).str()));
    EXPECT_EQ(f.get_string("general.architecture"), "llama");
    EXPECT_EQ(f.get_int("llama.block_count"), 2);
    EXPECT_EQ(f.get_int("i64"), -3);
    EXPECT_EQ(f.get_float("f"), 0.5);
    EXPECT_EQ(f.get_float("llama.block_count"), 2.0);
    EXPECT_EQ(f.find_bool("yes"), true);
    EXPECT_THAT(f.get_strings("tokenizer.ggml.tokens"), ElementsAre("a", "bc", ""));
    EXPECT_THAT(f.get_ints("ints"), ElementsAre(-1, 2));
    EXPECT_THAT(f.get_floats("floats"), ElementsAre(0.5, -1));
    EXPECT_THAT(f.get_floats("ints"), ElementsAre(-1, 2));
    EXPECT_FALSE(f.find_int("absent").has_value());
    const TensorView* q = f.find_tensor("q");
    ASSERT_TRUE(q);
    EXPECT_EQ(q->dtype, DType::q4_0);
    EXPECT_TRUE(q->shape == (Shape{2, 32}));
    EXPECT_EQ(static_cast<int>(q->data[0]), 2);
  }
}

TEST(Gguf, GettersNameFileAndKey) {
  const TempDir dir;
  const GgufFile f(dir.write("m.gguf", sample().str()));
  EXPECT_THAT(error_of([&] { f.get_int("absent"); }),
              HasSubstr("m.gguf' has no metadata 'absent'"));
  EXPECT_THAT(error_of([&] { f.get_int("f"); }), HasSubstr("'f' is not an integer"));
  EXPECT_THAT(error_of([&] { f.get_string("yes"); }), HasSubstr("is not a text"));
  EXPECT_THAT(error_of([&] { f.get_strings("ints"); }), HasSubstr("a list of texts"));
  EXPECT_THAT(error_of([&] { f.get_ints("floats"); }), HasSubstr("a list of integers"));
  EXPECT_THAT(error_of([&] { f.get_ints("yes"); }), HasSubstr("a list of integers"));
}

TEST(Gguf, RefusesWhatCannotBe) {
  EXPECT_THAT(error_for("GGML"), HasSubstr("not a GGUF file"));
  EXPECT_THAT(error_for(sample(1).str()), HasSubstr("version 1"));
  EXPECT_THAT(error_for(sample(0x03000000).str()), HasSubstr("big-endian"));
  EXPECT_THAT(error_for(GgufBuilder().tensor("iq", 20, {1, 32}, std::string(18, ' ')).str()),
              HasSubstr("'iq' is in format IQ4_NL"));
  EXPECT_THAT(error_for(GgufBuilder().tensor("t", 99, {1, 32}, std::string(18, ' ')).str()),
              HasSubstr("unknown format number 99"));
  EXPECT_THAT(error_for(GgufBuilder().tensor("t", 2, {2, 30}, std::string(64, ' ')).str()),
              HasSubstr("do not divide into blocks"));
  EXPECT_THAT(error_for(GgufBuilder().tensor("t", 0, {1ull << 48, 1ull << 48}, "").str()),
              HasSubstr("overflows"));
  EXPECT_THAT(error_for(GgufBuilder().tensor("t", 0, {1, 1, 1, 1, 1}, "1234").str()),
              HasSubstr("5 dimensions"));
  EXPECT_THAT(error_for(GgufBuilder().add("k", 1u).add("k", 2u).str()), HasSubstr("given twice"));
  EXPECT_THAT(
      error_for(GgufBuilder().tensor("t", 0, {1}, "1234").tensor("t", 0, {1}, "1234").str()),
      HasSubstr("there twice"));
  EXPECT_THAT(error_for(GgufBuilder().tensor("t", 0, {1000}, "1234").str()),
              HasSubstr("truncated"));
  EXPECT_THAT(error_for(GgufBuilder().add("general.alignment", 24u).str()),
              HasSubstr("power of two"));
  std::string many = "GGUF" + GgufBuilder::bytes<uint32_t>(3) +
                     GgufBuilder::bytes<uint64_t>(uint64_t{1} << 60) +
                     GgufBuilder::bytes<uint64_t>(0);
  EXPECT_THAT(error_for(many), HasSubstr("the number of tensors"));
}

TEST(Gguf, RefusesOverlapsAndDeepArrays) {
  // Two tensors in one place: the second's offset is patched to 0.
  std::string s = GgufBuilder()
                      .tensor("t", 0, {8}, std::string(32, ' '))
                      .tensor("u", 0, {8}, std::string(32, ' '))
                      .str();
  const size_t at = s.find("u\1") + 1 + 4 + 8 + 4;
  ASSERT_EQ(s[at], 32);
  s[at] = 0;
  EXPECT_THAT(error_for(s), HasSubstr("overlaps"));
  s[at] = 1;
  EXPECT_THAT(error_for(s), HasSubstr("alignment"));
  std::string nested;
  for (int i = 0; i < 50; ++i)
    nested += GgufBuilder::bytes<uint32_t>(9) + GgufBuilder::bytes<uint64_t>(1);
  EXPECT_THAT(error_for(GgufBuilder().raw("deep", GgufType::array, nested).str()),
              HasSubstr("nests arrays"));
}

TEST(Gguf, SplitFilesOpenByTheFirst) {
  const TempDir dir;
  const auto part = [](const char* name) {
    GgufBuilder b;
    b.add("general.architecture", "llama");
    b.raw("split.tensors.count", GgufType::i32, GgufBuilder::bytes<int32_t>(2));
    return b.tensor(name, 0, {2}, "12345678").str();
  };
  const auto first = dir.write("m-00001-of-00002.gguf", part("a"));
  EXPECT_THAT(error_of([&] { GgufFile f(first); }), HasSubstr("m-00002-of-00002.gguf"));
  const auto second = dir.write("m-00002-of-00002.gguf", part("b"));
  EXPECT_EQ(GgufFile(first).tensors().size(), 2u);
  EXPECT_THAT(error_of([&] { GgufFile f(second); }), HasSubstr("give its first part"));
  dir.write("m-00002-of-00002.gguf", part("a"));
  EXPECT_THAT(error_of([&] { GgufFile f(first); }), HasSubstr("there twice"));
}

TEST(Gguf, VocabularyIsCopiedWhole) {
  const TempDir dir;
  const GgufFile f(dir.write("m.gguf", sample().str()));
  write_gguf_vocabulary(f, dir / "v.gguf");
  const GgufFile v(dir / "v.gguf");
  EXPECT_EQ(v.metadata().size(), 2u);
  EXPECT_TRUE(v.tensors().empty());
  EXPECT_THAT(v.get_strings("tokenizer.ggml.tokens"), ElementsAre("a", "bc", ""));
}

}  // namespace
}  // namespace tokamak
