// What the fixtures cannot show: invalid UTF-8, long words in near-linear time, long against short
// ways to merge, and the options of encode().
#include <gtest/gtest.h>

#include <chrono>
#include <random>

#include "base/error.h"
#include "text/byte_level.h"
#include "text/tokenizer.h"
#include "text/tokenizer_spec.h"
#include "text/unicode.h"

namespace tokamak {
namespace {

// GPT-2-like: 256 byte letters, and merges that make words of a and b.
TokenizerSpec byte_spec() {
  BpeModel bpe;
  for (int b = 0; b < 256; ++b) {
    bpe.pieces.push_back(unicode::to_utf8(byte_level::char_of(static_cast<unsigned char>(b))));
  }
  const auto merge = [&](int32_t left, int32_t right) {
    bpe.pieces.push_back(bpe.pieces[static_cast<size_t>(left)] +
                         bpe.pieces[static_cast<size_t>(right)]);
    bpe.merges.push_back({left, right, static_cast<int32_t>(bpe.pieces.size()) - 1});
    return static_cast<int32_t>(bpe.pieces.size()) - 1;
  };
  const int32_t ab = merge('a', 'b'), aa = merge('a', 'a');
  merge(aa, aa);
  merge(ab, ab);
  merge(0xE4, 0xB8);
  merge(aa, 'b');
  TokenizerSpec spec;
  spec.source = "test";
  spec.model = std::move(bpe);
  spec.pre_tokenizers = {ByteLevelPreTokenizer{false, true}};
  spec.decoders = {ByteLevelDecoder{}};
  const auto count = static_cast<int32_t>(std::get<BpeModel>(spec.model).pieces.size());
  spec.added_tokens = {{count, "<|end|>", false, false, false, false, true}};
  spec.eos = count;
  return spec;
}

TEST(TokenizerEngine, InvalidUtf8SurvivesAsBytes) {
  const Tokenizer tokenizer(byte_spec());
  const std::string text = "ab\xFF\xFE<|end|>\xE4\xB8x\xF0\x9F";
  const auto ids = tokenizer.encode(text);
  std::string bytes;
  for (const int32_t id : ids) {
    bytes += id == *tokenizer.eos_id() ? "<|end|>" : *byte_level::unmapped(tokenizer.piece(id));
  }
  EXPECT_EQ(bytes, text);
  EXPECT_NE(std::find(ids.begin(), ids.end(), tokenizer.id_of("ä¸").value()), ids.end());
  EXPECT_EQ(tokenizer.decode(ids), "ab\uFFFD\uFFFD<|end|>\uFFFDx\uFFFD");
}

TEST(TokenizerEngine, RandomBytesSurvive) {
  const Tokenizer tokenizer(byte_spec());
  constexpr unsigned kSeed = 20240607;
  SCOPED_TRACE(kSeed);
  std::mt19937 rng(kSeed);
  for (int round = 0; round < 2000; ++round) {
    std::string text(rng() % 40, '\0');
    for (char& c : text)
      c = static_cast<char>(rng() % 3 == 0 ? rng() % 256 : "ab \xE4\xB8"[rng() % 5]);
    std::string bytes;
    for (const int32_t id : tokenizer.encode(text)) {
      bytes += *byte_level::unmapped(tokenizer.piece(id));
    }
    ASSERT_EQ(bytes, text);
  }
}

TEST(TokenizerEngine, InvalidUtf8BecomesReplacementWithoutByteTokens) {
  TokenizerSpec spec;
  spec.source = "test";
  WordLevelModel words;
  words.pieces = {"<unk>", "a", "\uFFFD", "a\uFFFD"};
  words.unk = 0;
  spec.model = std::move(words);
  spec.pre_tokenizers = {WhitespaceSplitPreTokenizer{}};
  const Tokenizer tokenizer(std::move(spec));
  EXPECT_EQ(tokenizer.encode("a \xFF a\xE4\xB8"), (std::vector<int32_t>{1, 2, 3}));
}

TEST(TokenizerEngine, SpecialTokensInTextAreAChoice) {
  const Tokenizer tokenizer(byte_spec());
  const int32_t end = *tokenizer.eos_id();
  EXPECT_EQ(tokenizer.encode("<|end|>"), std::vector<int32_t>{end});
  const auto literal = tokenizer.encode("<|end|>", {.add_special = true, .parse_special = false});
  EXPECT_EQ(literal.size(), 7u);
  EXPECT_EQ(tokenizer.decode(literal, true), "<|end|>");
  EXPECT_EQ(tokenizer.decode(std::vector<int32_t>{end}, true), "");
  EXPECT_TRUE(tokenizer.is_special(end));
  EXPECT_THROW(tokenizer.piece(end + 1), Error);
  EXPECT_THROW(tokenizer.piece(-1), Error);
}

// The straightforward definition: merge the best pair, leftmost first, until none is left.
std::vector<int32_t> merge_slowly(const BpeModel& bpe, std::string_view text) {
  std::vector<int32_t> ids;
  for (const char c : text) ids.push_back(static_cast<unsigned char>(c));
  while (true) {
    size_t best = bpe.merges.size(), at = 0;
    for (size_t i = 0; i + 1 < ids.size(); ++i) {
      for (size_t rank = 0; rank < best; ++rank) {
        if (bpe.merges[rank].left == ids[i] && bpe.merges[rank].right == ids[i + 1]) {
          best = rank;
          at = i;
        }
      }
    }
    if (best == bpe.merges.size()) return ids;
    ids[at] = bpe.merges[best].result;
    ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(at) + 1);
  }
}

TEST(TokenizerEngine, LongAndShortWordsMergeAlike) {
  const TokenizerSpec spec = byte_spec();
  const Tokenizer tokenizer(byte_spec());
  constexpr unsigned kSeed = 7;
  SCOPED_TRACE(kSeed);
  std::mt19937 rng(kSeed);
  for (const size_t size : {1u, 5u, 29u, 30u, 31u, 39u, 40u, 41u, 80u, 300u}) {
    for (int round = 0; round < 20; ++round) {
      std::string word(size, 'a');
      for (char& c : word) c = rng() % 3 == 0 ? 'b' : 'a';
      ASSERT_EQ(tokenizer.encode(word), merge_slowly(std::get<BpeModel>(spec.model), word)) << word;
    }
  }
}

double seconds(const Tokenizer& tokenizer, const std::string& text) {
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_FALSE(tokenizer.encode(text).empty());
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

// Quadratic time would take minutes here.
TEST(TokenizerEngine, GiantWordsTakeNearLinearTime) {
  const Tokenizer tokenizer(byte_spec());
  constexpr size_t kMegabyte = 1u << 20;
  EXPECT_LT(seconds(tokenizer, std::string(kMegabyte, 'a')), 20.0);
  EXPECT_LT(seconds(tokenizer, std::string(kMegabyte, ' ')), 20.0);
  EXPECT_LT(seconds(tokenizer, std::string(kMegabyte, '\n')), 20.0);
  EXPECT_LT(seconds(tokenizer, std::string(kMegabyte, '\xFF')), 20.0);
  TokenizerSpec whole = byte_spec();
  whole.pre_tokenizers = {ByteLevelPreTokenizer{false, false}};
  std::string text;
  while (text.size() < kMegabyte) text += "abaab aab ";
  EXPECT_LT(seconds(Tokenizer(std::move(whole)), text), 20.0);
}

TEST(TokenizerEngine, InconsistentSpecsAreRefused) {
  const auto refused = [](auto&& damage) {
    TokenizerSpec spec = byte_spec();
    damage(spec, std::get<BpeModel>(spec.model));
    EXPECT_THROW(Tokenizer{std::move(spec)}, Error);
  };
  refused([](auto&, BpeModel& m) { m.merges[0].left = -1; });
  refused([](auto&, BpeModel& m) { m.merges[0].result = 1'000'000; });
  refused([](auto&, BpeModel& m) { m.unk = 1'000'000; });
  refused([](auto& s, auto&) { s.added_tokens[0].id = -5; });
  refused([](auto& s, auto&) { s.eos = 1'000'000; });
  refused([](auto& s, auto&) { s.post_processors = {{{{false, {-1}}}}}; });
  refused([](auto& s, auto&) {
    s.pre_tokenizers = {SplitPreTokenizer{{"(", true}, SplitBehavior::kIsolated, false}};
  });
}

}  // namespace
}  // namespace tokamak
