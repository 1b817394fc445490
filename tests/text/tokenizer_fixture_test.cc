// Token ids and decoded texts equal to the reference library's, for a small tokenizer of every
// kind. tools/make_tokenizer_fixtures.py writes the fixtures (and compares many more texts with
// --fuzz).
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/error.h"
#include "base/json.h"
#include "text/tokenizer.h"
#include "text/tokenizer_readers.h"

namespace tokamak {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> fixture_files() {
  std::vector<fs::path> files;
  for (const auto& entry :
       fs::directory_iterator(fs::path(TOKAMAK_TEST_DATA) / "text/tokenizers")) {
    files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

Tokenizer open(const Json& file, const Json& fixture) {
  Json tokenizer = fixture.at("tokenizer");
  if (file.contains("model")) tokenizer["model"] = file["model"];
  const std::string name = fixture.at("name");
  return Tokenizer(parse_tokenizer_json(tokenizer.dump(), name));
}

void check_case(const Tokenizer& tokenizer, const Json& item) {
  SCOPED_TRACE(item.at("request").dump());
  const Json& request = item["request"];
  std::vector<int32_t> ids;
  if (request.contains("d")) {
    ids = request["d"].get<std::vector<int32_t>>();
  } else {
    EncodeOptions options;
    options.add_special = request.at("a");
    const auto text = request.at("t").get<std::string>();
    if (item.contains("error")) {
      EXPECT_THROW(tokenizer.encode(text, options), Error);
      return;
    }
    ids = tokenizer.encode(text, options);
    EXPECT_EQ(ids, item.at("ids").get<std::vector<int32_t>>());
  }
  // null: the reference panics.
  if (item["text"].is_string()) {
    EXPECT_EQ(tokenizer.decode(ids), item["text"].get<std::string>());
  }
  const Json& clean = item.contains("clean") ? item["clean"] : item["text"];
  if (clean.is_string()) {
    EXPECT_EQ(tokenizer.decode(ids, true), clean.get<std::string>());
  }
}

class TokenizerFixture : public ::testing::TestWithParam<fs::path> {};

TEST_P(TokenizerFixture, EqualsReference) {
  const Json file = load_json(GetParam());
  ASSERT_FALSE(file.at("tokenizers").empty());
  for (const Json& fixture : file["tokenizers"]) {
    SCOPED_TRACE(fixture.at("name").dump());
    const Tokenizer tokenizer = open(file, fixture);
    ASSERT_FALSE(fixture.at("cases").empty());
    for (const Json& item : fixture["cases"]) check_case(tokenizer, item);
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, TokenizerFixture, ::testing::ValuesIn(fixture_files()),
                         [](const auto& info) { return info.param.stem().string(); });

TEST(TokenizerThreads, OneTokenizerServesManyThreads) {
  const Json file = load_json(fs::path(TOKAMAK_TEST_DATA) / "text/tokenizers/bpe_llama3.json");
  const Json& fixture = file.at("tokenizers").at(0);
  const Tokenizer tokenizer = open(file, fixture);
  std::vector<std::thread> threads;
  std::vector<int> failures(4);
  for (int& failed : failures) {
    threads.emplace_back([&] {
      for (int round = 0; round < 20; ++round) {
        for (const Json& item : fixture.at("cases")) {
          if (!item.at("request").contains("t")) continue;
          EncodeOptions options;
          options.add_special = item["request"]["a"].get<bool>();
          const auto ids = tokenizer.encode(item["request"]["t"].get<std::string>(), options);
          failed += ids != item.at("ids").get<std::vector<int32_t>>();
        }
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(failures, std::vector<int>(4));
}

}  // namespace
}  // namespace tokamak
