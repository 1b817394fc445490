#include "text/gguf_vocab.h"

#include <fmt/core.h>
#include <fmt/ranges.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/error_of.h"
#include "base/json.h"
#include "text/gguf_pre_kinds.h"
#include "text/tokenizer.h"

namespace tokamak {
namespace {

using Ids = std::vector<int32_t>;
using test::error_of;
using testing::ElementsAre;
using testing::HasSubstr;

// ---- gpt2: every kind of tokenizer.ggml.pre -----------------------------------------------------
GgufVocab bpe_vocab(const Json& fixture, std::string_view pre) {
  GgufVocab v;
  v.source = "test.gguf";
  v.model = "gpt2";
  v.pre = pre;
  v.tokens = fixture.at("tokens").get<std::vector<std::string>>();
  v.merges = fixture.at("merges").get<std::vector<std::string>>();
  v.add_bos = false;
  return v;
}

void compare_pre_kinds(const std::filesystem::path& path, bool print) {
  const Json fixture = load_json(path);
  const auto texts = fixture.at("texts").get<std::vector<std::string>>();
  for (const auto& [pre, expected] : fixture.at("kinds").items()) {
    const Tokenizer tokenizer(make_spec(bpe_vocab(fixture, pre)));
    size_t mismatches = 0;
    for (size_t i = 0; i < texts.size(); ++i) {
      const Ids mine = tokenizer.encode(texts[i]), reference = expected[i].get<Ids>();
      if (mine != reference && mismatches++ == 0)
        ADD_FAILURE() << fmt::format("{}: '{}': {} expected {}", pre, texts[i], mine, reference);
      EXPECT_EQ(tokenizer.decode(mine), texts[i]) << pre;
    }
    if (print) printf("%s: %zu texts, %zu mismatches\n", pre.c_str(), texts.size(), mismatches);
  }
}

std::filesystem::path fixture_path() {
  return std::filesystem::path(TOKAMAK_TEST_DATA) / "text" / "gguf" / "pre_kinds.json";
}

TEST(GgufVocab, IdsOfThePreKindsEqualTheReference) { compare_pre_kinds(fixture_path(), false); }

// TOKAMAK_GGUF_FUZZ=FILE: the same with a freshly made file of many texts.
TEST(GgufVocab, FreshFixtures) {
  const char* file = std::getenv("TOKAMAK_GGUF_FUZZ");
  if (!file) GTEST_SKIP() << "TOKAMAK_GGUF_FUZZ is not set";
  compare_pre_kinds(file, true);
}

// Every kind compiles and loses nothing.
TEST(GgufVocab, EveryPreKindKeepsTheText) {
  const Json fixture = load_json(fixture_path());
  const auto texts = fixture.at("texts").get<std::vector<std::string>>();
  int kinds = 0;
  for (const GgufPreKind& kind : gguf_pre_kinds()) {
    if (kind.raw_utf8) continue;
    for (const std::string_view name : kind.names) {
      const Tokenizer tokenizer(make_spec(bpe_vocab(fixture, name)));
      for (const auto& text : texts) EXPECT_EQ(tokenizer.decode(tokenizer.encode(text)), text);
      ++kinds;
    }
  }
  EXPECT_GE(kinds, 70);
}

TEST(GgufVocab, SplitsOfSingleKinds) {
  const Json fixture = load_json(fixture_path());
  const auto pieces = [&](const char* pre, const char* text) {
    // Without merges across them, the ends of words show as the ends of single bytes only; so take
    // a vocabulary of whole words.
    GgufVocab v = bpe_vocab(fixture, pre);
    v.merges = {"1 2", "12 3", "3 4", "34 5"};
    for (const char* t : {"12", "123", "34", "345"}) v.tokens.push_back(t);
    const Tokenizer tokenizer(make_spec(std::move(v)));
    std::string out;
    for (const int32_t id : tokenizer.encode(text)) out += tokenizer.piece(id) + "|";
    return out;
  };
  EXPECT_EQ(pieces("gpt-2", "12345"), "123|4|5|");
  EXPECT_EQ(pieces("smollm", "12345"), "1|2|3|4|5|");
  EXPECT_EQ(pieces("llama-bpe", "12345"), "123|45|");  // a word that is a token is taken whole
  EXPECT_EQ(pieces("afmoe", "12345"), "12|345|");      // groups of three from the end
  EXPECT_EQ(pieces("tiny_aya", "12345"), "12|345|");
  EXPECT_EQ(pieces("superbpe", "12345"), "12|345|");
}

TEST(GgufVocab, UnknownPreKindListsTheKnownOnes) {
  GgufVocab v = bpe_vocab(load_json(fixture_path()), "llama-bpx");
  const std::string message = error_of([&] { make_spec(v); });
  EXPECT_THAT(message, HasSubstr("test.gguf: tokenizer.ggml.pre is 'llama-bpx'"));
  EXPECT_THAT(message, HasSubstr("deepseek-v3"));
  EXPECT_THAT(message, HasSubstr("tekken"));
}

TEST(GgufVocab, AddedTokensAndBosOfGpt2) {
  GgufVocab v = bpe_vocab(load_json(fixture_path()), "qwen2");
  const auto n = static_cast<int32_t>(v.tokens.size());
  v.tokens.insert(v.tokens.end(), {"<|bos|>", "<tool>"});
  v.types.assign(v.tokens.size(), PieceType::kNormal);
  v.types[n] = PieceType::kControl;
  v.types[n + 1] = PieceType::kUserDefined;
  v.bos = n;
  v.add_bos = true;
  const Tokenizer t(make_spec(v));
  const Ids a = t.encode("a", {false, true});
  ASSERT_EQ(a.size(), 1u);
  EXPECT_THAT(t.encode("a<|bos|>a<tool>"), ElementsAre(n, a[0], n, a[0], n + 1));
  EXPECT_TRUE(t.is_special(n));
  EXPECT_FALSE(t.is_special(n + 1));
  EXPECT_EQ(t.decode(Ids{n, a[0], n + 1}, true), "a<tool>");
  EXPECT_EQ(t.encode("<tool>", {false, false}), Ids{n + 1});  // plain text all the same
  EXPECT_GT(t.encode("<|bos|>", {false, false}).size(), 1u);
  EXPECT_EQ(t.bos_id(), n);
}

// ---- llama and t5 -------------------------------------------------------------------------------
GgufVocab llama_vocab() {
  GgufVocab v;
  v.source = "test.gguf";
  v.model = "llama";
  const auto add = [&](std::string text, float score, PieceType type) {
    v.tokens.push_back(std::move(text));
    v.scores.push_back(score);
    v.types.push_back(type);
  };
  add("<unk>", 0, PieceType::kUnknown);
  add("<s>", 0, PieceType::kControl);
  add("</s>", 0, PieceType::kControl);
  for (int b = 0; b < 256; ++b) add(fmt::format("<0x{:02X}>", b), 0, PieceType::kByte);
  float score = 0;
  for (const char* t : {"▁a", "▁ab", "bc", "▁", "a", "b", "c"}) add(t, --score, PieceType::kNormal);
  add("  ", 0, PieceType::kUserDefined);  // files spell the spaces of such pieces as spaces
  return v;
}

TEST(GgufVocab, LlamaMergesByScoreAndFallsBackToBytes) {
  const Tokenizer t(make_spec(llama_vocab()));
  const auto id = [&](const char* piece) { return *t.id_of(piece); };
  EXPECT_THAT(t.encode("abc"), ElementsAre(1, id("▁ab"), id("c")));
  EXPECT_THAT(t.encode("abc", {false, false}), ElementsAre(id("▁ab"), id("c")));
  EXPECT_THAT(t.encode("aé"), ElementsAre(1, id("▁a"), id("<0xC3>"), id("<0xA9>")));
  EXPECT_THAT(t.encode("a</s>b"), ElementsAre(1, id("▁a"), 2, id("▁"), id("b")));
  EXPECT_THAT(t.encode("a  b"), ElementsAre(1, id("▁a"), id("▁▁"), id("b")));
  EXPECT_EQ(t.decode(t.encode("abc é"), true), "abc é");
  EXPECT_EQ(t.decode(t.encode("a  b"), true), "a  b");
}

TEST(GgufVocab, LlamaFlags) {
  GgufVocab v = llama_vocab();
  v.add_bos = false;
  v.add_eos = true;
  v.add_space_prefix = false;
  const Tokenizer t(make_spec(v));
  EXPECT_THAT(t.encode("bc"), ElementsAre(*t.id_of("bc"), 2));
  v.bos = 999;  // out of the vocabulary: there is none then
  EXPECT_EQ(Tokenizer(make_spec(v)).bos_id(), std::nullopt);
}

TEST(GgufVocab, SpaceBehindSpecialTokensOfPhi3) {
  GgufVocab v = llama_vocab();
  v.model_name = "Phi-3 mini";
  const Tokenizer t(make_spec(v));
  EXPECT_EQ(t.encode("</s>\n a"), t.encode("</s>a"));
}

TEST(GgufVocab, T5IsUnigramWithEos) {
  GgufVocab v;
  v.source = "test.gguf";
  v.model = "t5";
  v.tokens = {"<pad>", "</s>", "<unk>", "▁a", "b", "▁ab", "▁", "a"};
  v.scores = {0, 0, 0, -2, -3, -4, -5, -6};
  v.types = {PieceType::kControl, PieceType::kControl, PieceType::kUnknown, PieceType::kNormal,
             PieceType::kNormal,  PieceType::kNormal,  PieceType::kNormal,  PieceType::kNormal};
  v.add_space_prefix = true;
  v.remove_extra_whitespaces = true;
  const Tokenizer t(make_spec(v));
  EXPECT_THAT(t.encode("ab  axx "), ElementsAre(5, 3, 2, 1));
}

// ---- bert ---------------------------------------------------------------------------------------
TEST(GgufVocab, BertIsWordPiece) {
  GgufVocab v;
  v.source = "test.gguf";
  v.model = "bert";
  v.tokens = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "▁hello", "▁un", "able", "▁,", "▁e"};
  v.types.assign(v.tokens.size(), PieceType::kNormal);
  for (int i = 0; i < 4; ++i) v.types[i] = PieceType::kControl;
  v.unk = 1;
  v.cls = 2;
  v.sep = 3;
  v.pad = 0;
  const Tokenizer t(make_spec(v));
  EXPECT_THAT(t.encode("Hello, unable É zzz"), ElementsAre(2, 4, 7, 5, 6, 8, 1, 3));
  EXPECT_EQ(t.decode(Ids{2, 4, 7, 5, 6, 3}, true), "hello, unable");
  EXPECT_EQ(t.piece(6), "##able");
  v.lowercase = false;
  EXPECT_THAT(Tokenizer(make_spec(v)).encode("Hello"), ElementsAre(2, 1, 3));
}

// ---- bad files ----------------------------------------------------------------------------------
TEST(GgufVocab, BadVocabulariesAreRefused) {
  const auto message = [](const auto& change) {
    GgufVocab v = llama_vocab();
    change(v);
    return error_of([&] { Tokenizer t(make_spec(v)); });
  };
  EXPECT_THAT(message([](GgufVocab& v) { v.model = "rwkv"; }),
              HasSubstr("tokenizer.ggml.model is 'rwkv', which is not supported; expected llama"));
  EXPECT_THAT(message([](GgufVocab& v) { v.model = "plamo2"; }), HasSubstr("not supported"));
  EXPECT_THAT(message([](GgufVocab& v) { v.tokens.clear(); }), HasSubstr("missing or empty"));
  EXPECT_THAT(message([](GgufVocab& v) { v.scores.resize(3); }), HasSubstr("but 3 scores"));
  EXPECT_THAT(message([](GgufVocab& v) { v.types.resize(3); }), HasSubstr("3 token types"));
  EXPECT_THAT(message([](GgufVocab& v) { v.model = "gpt2"; }), HasSubstr("merges is missing"));
  EXPECT_THAT(message([](GgufVocab& v) { v.scores[5] = NAN; }), HasSubstr("not a number"));
  const auto merges = [&](const char* merge) {
    return message([&](GgufVocab& v) {
      v.model = "gpt2";
      v.merges = {merge};
    });
  };
  EXPECT_THAT(merges("ab"), HasSubstr("merges[0] is 'ab', expected two tokens"));
  EXPECT_THAT(merges("b zz"), HasSubstr("'zz' is not a token"));
  EXPECT_THAT(message([](GgufVocab& v) {
                v.model = "bert";
                v.tokens.resize(50);
              }),
              HasSubstr("CLS or SEP"));
}

}  // namespace
}  // namespace tokamak
