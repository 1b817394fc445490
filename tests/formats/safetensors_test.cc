#include "formats/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <thread>

#include "formats/temp_dir.h"

namespace tokamak {
namespace {

using ::testing::HasSubstr;

std::string file_of(const std::string& header, size_t data_bytes) {
  std::string s(8, '\0');
  const uint64_t n = header.size();
  std::memcpy(s.data(), &n, 8);
  return s + header + std::string(data_bytes, 'x');
}

std::string error_for(const std::string& header, size_t data_bytes) {
  const TempDir dir;
  const auto path = dir.write("m.safetensors", file_of(header, data_bytes));
  return error_of([&] { SafetensorsFile f(path); });
}

std::string entry(const char* name, const char* dtype, const char* shape, const char* offsets) {
  return std::string("\"") + name + R"(":{"dtype":")" + dtype + R"(","shape":)" + shape +
         R"(,"data_offsets":)" + offsets + "}";
}

TEST(Safetensors, WritesAndReadsFromThreads) {
  const TempDir dir;
  const std::vector<float> a = {1, 2, 3, 4, 5, 6};
  const std::vector<uint16_t> b = {7, 8};
  {
    SafetensorsWriter w(dir / "m.safetensors",
                        {{"a", DType::f32, {2, 3}},
                         {"b", DType::bf16, {2}},
                         {"none", DType::u8, {0, 4}},
                         {"scalar", DType::i32, {}}},
                        {{"key", "value"}});
    const auto bytes = std::as_bytes(std::span(a));
    const int32_t scalar = -5;
    w.write(3, 0, std::as_bytes(std::span(&scalar, 1)));
    std::jthread other([&] { w.write(0, 12, bytes.subspan(12)); });
    w.write(0, 0, bytes.subspan(0, 12));
    w.write(1, 0, std::as_bytes(std::span(b)));
    other.join();
    EXPECT_FALSE(std::filesystem::exists(dir / "m.safetensors"));
    w.finish();
  }
  const SafetensorsFile f(dir / "m.safetensors");
  EXPECT_EQ(f.tensors().size(), 4u);
  EXPECT_EQ(f.metadata().at("key"), "value");
  const TensorView& t = f.tensor("a");
  EXPECT_TRUE(t.shape == (Shape{2, 3}));
  EXPECT_EQ(std::memcmp(t.data, a.data(), 24), 0);
  EXPECT_EQ(f.tensor("b").dtype, DType::bf16);
  EXPECT_EQ(f.tensor("scalar").shape.rank(), 0);
  EXPECT_EQ(*f.tensor("scalar").as<int32_t>(), -5);
  EXPECT_THAT(error_of([&] { f.tensor("c"); }), HasSubstr("has no tensor 'c'"));
}

TEST(Safetensors, UnfinishedFilesDoNotAppear) {
  const TempDir dir;
  { SafetensorsWriter w(dir / "m.safetensors", {{"a", DType::f32, {2}}}); }
  EXPECT_TRUE(std::filesystem::is_empty(dir.path()));
}

TEST(Safetensors, RefusesWhatTheFormatForbids) {
  const std::string ok = entry("a", "F32", "[2]", "[0,8]");
  EXPECT_EQ(error_for("{" + ok + "}", 8), "");
  EXPECT_EQ(error_for("{}", 0), "");
  EXPECT_THAT(error_for("{" + ok + "}", 7), HasSubstr("truncated"));
  EXPECT_THAT(error_for("{" + ok + "}", 9), HasSubstr("end at byte 8"));
  EXPECT_THAT(error_for("{" + entry("a", "F32", "[3]", "[0,8]") + "}", 8), HasSubstr("do not fit"));
  EXPECT_THAT(error_for("{" + entry("a", "F32", "[2]", "[8,0]") + "}", 8), HasSubstr("do not fit"));
  EXPECT_THAT(error_for("{" + ok + "," + entry("b", "U8", "[8]", "[4,12]") + "}", 12),
              HasSubstr("overlaps"));
  EXPECT_THAT(error_for("{" + ok + "," + entry("b", "U8", "[8]", "[9,17]") + "}", 17),
              HasSubstr("hole"));
  EXPECT_THAT(error_for("{" + ok + "," + ok + "}", 8), HasSubstr("listed twice"));
  EXPECT_THAT(error_for("{" + entry("a", "F4", "[2]", "[0,8]") + "}", 8),
              HasSubstr("supported: F32"));
  EXPECT_THAT(error_for("{" + entry("a", "U8", "[-1]", "[0,8]") + "}", 8),
              HasSubstr("non-negative"));
  EXPECT_THAT(error_for("{" + entry("a", "U8", "[1.5]", "[0,8]") + "}", 8),
              HasSubstr("non-negative"));
  EXPECT_THAT(
      error_for("{" + entry("a", "F64", "[281474976710656,281474976710656]", "[0,8]") + "}", 8),
      HasSubstr("overflows"));
  EXPECT_THAT(error_for("{" + entry("a", "U8", "[1,1,1,1,1,1,8]", "[0,8]") + "}", 8),
              HasSubstr("dimensions"));
  EXPECT_THAT(error_for(R"({"a":{"dtype":"U8","shape":[8]}})", 8), HasSubstr("data_offsets"));
  EXPECT_THAT(error_for(R"({"a":[[[[[[1]]]]]]})", 8), HasSubstr("too deeply"));
  EXPECT_THAT(error_for("[1]", 0), HasSubstr("not a JSON object"));
  EXPECT_THAT(error_for("{\"a\":", 0), HasSubstr("not valid JSON"));
  EXPECT_THAT(error_for(R"({"__metadata__":{"a":1}})", 0), HasSubstr("not a text"));
}

TEST(Safetensors, RefusesHeadersThatCannotBe) {
  const TempDir dir;
  for (const std::string& content : {std::string(), std::string("abc"), std::string(8, '\xff'),
                                     std::string("\x40\0\0\0\0\0\0\0{}", 10)}) {
    const auto path = dir.write("m.safetensors", content);
    EXPECT_NE(error_of([&] { SafetensorsFile f(path); }), "");
  }
}

TEST(Safetensors, ShardsThroughTheIndex) {
  const TempDir dir;
  dir.write("s1.safetensors", file_of("{" + entry("a", "U8", "[3]", "[0,3]") + "}", 3));
  dir.write("s2.safetensors", file_of("{" + entry("b", "U8", "[2]", "[0,2]") + "}", 2));
  const auto index = [&](const std::string& map) {
    dir.write("model.safetensors.index.json", R"({"weight_map":)" + map + "}");
  };
  index(R"({"a":"s1.safetensors","b":"s2.safetensors"})");
  EXPECT_EQ(SafetensorsSet(dir.path()).tensors().size(), 2u);
  const auto error = [&] { return error_of([&] { SafetensorsSet s(dir.path()); }); };
  index(R"({"a":"s1.safetensors","b":"s1.safetensors"})");
  EXPECT_THAT(error(), HasSubstr("does not hold it"));
  index(R"({"a":"../s1.safetensors"})");
  EXPECT_THAT(error(), HasSubstr("not a plain file name"));
  index(R"({"a":"s3.safetensors"})");
  EXPECT_THAT(error(), HasSubstr("s3.safetensors"));
  index("[]");
  EXPECT_THAT(error(), HasSubstr("weight_map"));
}

}  // namespace
}  // namespace tokamak
