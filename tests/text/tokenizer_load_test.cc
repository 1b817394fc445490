#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "base/error_of.h"
#include "base/json.h"
#include "text/sentencepiece_reader.h"
#include "text/tokenizer.h"
#include "text/tokenizer_config.h"

namespace tokamak {
namespace {

namespace fs = std::filesystem;
using Ids = std::vector<int32_t>;
using test::error_of;
using testing::HasSubstr;

const fs::path kModels = fs::path(TOKAMAK_TEST_DATA) / "text" / "sentencepiece";

// A folder that is gone at the end of the test.
class Folder {
 public:
  Folder() {
    char name[] = "/tmp/tokamak_load_XXXXXX";
    path_ = mkdtemp(name);
  }
  ~Folder() { fs::remove_all(path_); }
  void write(const char* name, const std::string& text) const {
    std::ofstream(path_ / name, std::ios::binary) << text;
  }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

Folder sentencepiece_folder(const char* model, const std::string& config) {
  Folder folder;
  folder.write("tokenizer.model", read_text(kModels / (std::string(model) + ".model")));
  if (!config.empty()) folder.write("tokenizer_config.json", config);
  return folder;
}

TEST(TokenizerLoad, BosByDefaultEosForT5) {
  const Tokenizer llama = Tokenizer::load(kModels / "bpe_rules.model");
  const Ids ids = llama.encode("the world");
  EXPECT_EQ(ids.front(), llama.bos_id());
  EXPECT_NE(ids.back(), llama.eos_id());
  EXPECT_EQ(llama.encode("", {}), Ids{*llama.bos_id()});
  const Tokenizer t5 = Tokenizer::load(kModels / "unigram_nfkc.model");
  EXPECT_EQ(t5.bos_id(), std::nullopt);
  EXPECT_EQ(t5.encode("the world").back(), t5.eos_id());
  EXPECT_EQ(t5.pad_id(), 0);
}

TEST(TokenizerLoad, ConfigDecidesAboutBosAndEos) {
  const auto folder = sentencepiece_folder(
      "bpe_rules", R"({"tokenizer_class": "LlamaTokenizerFast", "add_bos_token": false,
                       "add_eos_token": true})");
  const Tokenizer t = Tokenizer::load(folder.path());
  const Ids ids = t.encode("the world");
  EXPECT_NE(ids.front(), t.bos_id());
  EXPECT_EQ(ids.back(), t.eos_id());
}

TEST(TokenizerLoad, ConfigAddsTokens) {
  const auto folder = sentencepiece_folder("bpe_rules", R"({"legacy": false,
      "added_tokens_decoder": {"2000": {"content": "<|im_start|>", "special": true},
                               "2001": {"content": "<tool>", "special": false, "lstrip": true}},
      "eos_token": {"content": "<|im_start|>"}, "pad_token": "<tool>"})");
  const Tokenizer t = Tokenizer::load(folder.path());
  EXPECT_EQ(t.eos_id(), 2000);
  EXPECT_EQ(t.pad_id(), 2001);
  EXPECT_EQ(t.vocab_size(), 2002);
  Ids expected = t.encode("the");
  expected.push_back(2000);
  const Ids ids = t.encode("the<|im_start|>");
  EXPECT_EQ(ids, expected);
  EXPECT_EQ(t.decode(ids, true), "the");
  EXPECT_EQ(t.encode("the  <tool>").back(), 2001);
}

// Only where the config says legacy: false does text behind a special token lack the dummy prefix.
TEST(TokenizerLoad, DummyPrefixBehindSpecialTokens) {
  const auto old = sentencepiece_folder("bpe_rules", "");
  const auto now = sentencepiece_folder("bpe_rules", R"({"legacy": false})");
  const Tokenizer a = Tokenizer::load(old.path()), b = Tokenizer::load(now.path());
  EXPECT_EQ(a.decode(a.encode("x</s>the", {false, true})), "x</s> the");
  EXPECT_EQ(b.decode(b.encode("x</s>the", {false, true})), "x</s>the");
}

TEST(TokenizerLoad, BadConfigsAreRefused) {
  const auto message = [](const char* config) {
    return error_of([&] { parse_tokenizer_config(config, "tokenizer_config.json"); });
  };
  EXPECT_THAT(message("{"), HasSubstr("not valid JSON"));
  EXPECT_THAT(message("[]"), HasSubstr("expected an object"));
  EXPECT_THAT(message(R"({"add_bos_token": 1})"), HasSubstr("expected true or false"));
  EXPECT_THAT(message(R"({"eos_token": 5})"), HasSubstr("expected a text"));
  EXPECT_THAT(message(R"({"added_tokens_decoder": {"x": {"content": "a"}}})"), HasSubstr("'x'"));
  const auto shifted =
      sentencepiece_folder("unigram_nfkc", R"({"tokenizer_class": "XLMRobertaTokenizer"})");
  EXPECT_THAT(error_of([&] { Tokenizer::load(shifted.path()); }),
              HasSubstr("its tokenizer.json is needed"));
}

TEST(TokenizerLoad, NamesWhatWasLookedFor) {
  const Folder empty;
  EXPECT_THAT(error_of([&] { Tokenizer::load(empty.path()); }), HasSubstr("tokenizer.gguf"));
  EXPECT_THAT(error_of([&] { Tokenizer::load(empty.path() / "none"); }), HasSubstr("no such file"));
  empty.write("weights.bin", "abc");
  EXPECT_THAT(error_of([&] { Tokenizer::load(empty.path() / "weights.bin"); }),
              HasSubstr("not a tokenizer"));
}

// Truncated and flipped files: an Error or a tokenizer, never anything else.
TEST(TokenizerLoad, DamagedSentencePieceModels) {
  for (const char* name : {"bpe_bytes_identity.model", "unigram_bytes_identity.model"}) {
    const std::string good = read_text(kModels / name);
    size_t refused = 0;
    const auto attempt = [&](const std::string& bytes) {
      try {
        const Tokenizer t(make_spec(parse_sentencepiece(bytes, name), name));
        t.decode(t.encode("the world 😀 <user>"));
      } catch (const Error&) {
        ++refused;
      }
    };
    for (size_t n = 0; n < good.size(); n += 1 + n / 50) attempt(good.substr(0, n));
    for (size_t i = 0; i < 600; ++i) {
      std::string bad = good;
      bad[(i * 7919) % bad.size()] ^= static_cast<char>(1 << (i % 8));
      attempt(bad);
    }
    EXPECT_GT(refused, 100u);
  }
}

}  // namespace
}  // namespace tokamak
