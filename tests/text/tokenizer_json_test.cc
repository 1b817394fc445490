// Malformed tokenizer.json: one clear Error that names file and field.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "base/error.h"
#include "base/json.h"
#include "text/tokenizer.h"
#include "text/tokenizer_readers.h"

namespace tokamak {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

std::string complaint(std::string_view text) {
  try {
    Tokenizer tokenizer(parse_tokenizer_json(text, "dir/tokenizer.json"));
  } catch (const Error& e) {
    return e.what();
  }
  return "accepted";
}

std::string with(std::string_view field, std::string_view value) {
  return fmt::format(R"({{"model": {{"type": "BPE", "vocab": {{"a": 0, "b": 1, "ab": 2}},
      "merges": [["a", "b"]]}}, "{}": {}}})",
                     field, value);
}

TEST(TokenizerJson, AcceptsBothFormsOfMerges) {
  EXPECT_EQ(complaint(with("normalizer", "null")), "accepted");
  EXPECT_EQ(complaint(R"({"model": {"vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}})"),
            "accepted");
}

TEST(TokenizerJson, NamesFileAndField) {
  const auto says = [](std::string_view text, std::string_view field, std::string_view what) {
    EXPECT_THAT(complaint(text), AllOf(HasSubstr("dir/tokenizer.json"),
                                       HasSubstr(std::string(field)), HasSubstr(std::string(what))))
        << text;
  };
  says("{", "", "not valid JSON");
  says("[]", "", "expected an object, found an array");
  says("{}", "", "'model' is missing");
  says(R"({"model": 3})", "model", "expected an object, found a number");
  says(R"({"model": {"type": "GPT"}})", "model", "'GPT' is none of");
  says(R"({"model": {"type": "BPE", "vocab": [], "merges": []}})", "model.vocab", "an array");
  says(R"({"model": {"type": "BPE", "vocab": {"a": -1}, "merges": []}})", "model.vocab", "'a'");
  says(R"({"model": {"type": "BPE", "vocab": {"a": 99999999}, "merges": []}})", "model.vocab",
       "id 99999999");
  says(R"({"model": {"type": "BPE", "vocab": {"a": 0, "b": 0}, "merges": []}})", "model.vocab",
       "same id");
  says(R"({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a b"]}})", "model.merges[0]",
       "'b' is not in the vocabulary");
  says(R"({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [["a"]]}})", "model.merges[0]",
       "expected");
  says(R"({"model": {"type": "Unigram", "vocab": [["a", 0], ["b"]]}})", "model.vocab[1]",
       "expected");
  says(R"({"model": {"type": "Unigram", "vocab": [["a", 0]], "unk_id": 4}})", "model.unk_id", "4");
  says(with("version", R"("2.0")"), "version", "expected '1.0'");
  says(with("normalizer", R"({"type": "NFQ"})"), "normalizer", "'NFQ'");
  says(with("normalizer", R"({"type": "Sequence", "normalizers": [{"type": "Prepend"}]})"),
       "normalizer.normalizers[0]", "'prepend' is missing");
  says(with("normalizer", R"({"type": "Precompiled", "precompiled_charsmap": "AA=="})"),
       "tokenizer.json", "");
  says(with("normalizer", R"({"type": "Precompiled", "precompiled_charsmap": "?"})"),
       "precompiled_charsmap", "not base64");
  says(with("pre_tokenizer",
            R"({"type": "Split", "pattern": {"Regex": "["}, "behavior": "Isolated"})"),
       "Split", "bad regular expression");
  says(with("pre_tokenizer", R"({"type": "Split", "pattern": {"String": "a"}, "behavior": "Cut"})"),
       "pre_tokenizer.behavior", "'Cut'");
  says(with("pre_tokenizer", R"({"type": "Metaspace", "replacement": "ab"})"),
       "pre_tokenizer.replacement", "single character");
  says(with("pre_tokenizer", R"({"type": "FixedLength", "length": 0})"), "FixedLength", "0");
  says(with("decoder", R"({"type": "Strip", "content": " ", "start": -1, "stop": 0})"),
       "decoder.start", "expected an integer");
  says(with("post_processor", R"({"type": "TemplateProcessing", "single": [{"SpecialToken":
       {"id": "<s>"}}], "special_tokens": {}})"),
       "post_processor.special_tokens", "'<s>' is missing");
  says(with("added_tokens", R"([{"id": 5}])"), "added_tokens[0]", "'content' is missing");
}

// Flipped and cut files either open or give an Error; anything else ends the test program.
TEST(TokenizerJson, DamagedFilesNeverCrash) {
  const std::string path = std::string(TOKAMAK_TEST_DATA) + "/text/tokenizers/unigram_t5.json";
  const std::string good = read_text(path);
  const size_t begin = good.find("\"tokenizer\":") + 12;
  const std::string whole = good.substr(begin, good.find(",\"cases\":") - begin);
  ASSERT_EQ(complaint(whole), "accepted");
  constexpr unsigned kSeed = 99;
  SCOPED_TRACE(kSeed);
  std::mt19937 rng(kSeed);
  for (int round = 0; round < 1500; ++round) {
    std::string text = whole;
    for (int n = 1 + static_cast<int>(rng() % 3); n > 0; --n) {
      text[rng() % text.size()] ^= static_cast<char>(1u << rng() % 8);
    }
    if (round % 5 == 0) text.resize(rng() % text.size());
    try {
      const Tokenizer tokenizer(parse_tokenizer_json(text, "damaged"));
      tokenizer.decode(tokenizer.encode("Hello <a> wörld  x</ 123"));
    } catch (const Error&) {
    }
  }
}

}  // namespace
}  // namespace tokamak
