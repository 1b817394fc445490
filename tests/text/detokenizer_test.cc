// Property: what a Detokenizer returns, put together, is Tokenizer::decode of all ids, and every
// part is valid UTF-8 when the whole is.
#include "text/detokenizer.h"

#include <fmt/core.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <random>

#include "text/sp_utf8.h"
#include "text/sp_vocabulary.h"
#include "text/tokenizer_spec.h"

namespace tokamak {
namespace {

constexpr uint32_t kSeed = 7;

bool is_valid(std::string_view text) {
  while (!text.empty()) {
    const size_t n = valid_length(text);
    if (n == 0) return false;
    text.remove_prefix(n);
  }
  return true;
}

const std::vector<std::string> kWords = {"▁",      "▁▁",  "▁a", "b",     "▁hello", "x▁y",
                                         ".",      ",",   "'s", "é",     "😀",      "\xEF\xBF\xBD",
                                         "▁\nnew", "##b", " .", "a</w>", "</w>",   "<0xZZ>"};

std::vector<std::string> byte_pieces() {
  std::vector<std::string> pieces;
  for (int b = 0; b < 256; ++b) pieces.push_back(fmt::format("<0x{:02X}>", b));
  return pieces;
}

// GPT-2's spelling of bytes.
std::vector<std::string> byte_level_pieces() {
  std::vector<std::string> pieces;
  int next = 256;
  for (int b = 0; b < 256; ++b) {
    const bool printable = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
    const int c = printable ? b : next++;
    std::string s;
    if (c < 0x80) {
      s += static_cast<char>(c);
    } else {
      s += static_cast<char>(0xC0 | c >> 6);
      s += static_cast<char>(0x80 | (c & 0x3F));
    }
    pieces.push_back(s);
  }
  for (int i = 0; i < 100; ++i) {  // tokens of several bytes, characters cut anywhere
    std::mt19937 rng(kSeed + i);
    std::string s;
    for (unsigned n = 2 + rng() % 3; n > 0; --n) s += pieces[128 + rng() % 128];
    pieces.push_back(s);
  }
  return pieces;
}

TokenizerSpec spec_of(std::vector<std::string> pieces, std::vector<DecoderSpec> decoders) {
  TokenizerSpec spec;
  spec.source = "test";
  for (const char* name : {"<s>", "</s>"}) {
    AddedToken token;
    token.id = static_cast<int32_t>(pieces.size());
    token.content = name;
    token.special = true;
    token.normalized = false;
    pieces.push_back(name);
    spec.added_tokens.push_back(token);
  }
  WordLevelModel model;
  model.pieces = std::move(pieces);
  spec.model = std::move(model);
  spec.decoders = std::move(decoders);
  return spec;
}

std::vector<std::string> operator+(std::vector<std::string> a, const std::vector<std::string>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// Ids at random, with stretches of text's bytes in a row where the vocabulary has byte pieces.
std::vector<int32_t> random_ids(const Tokenizer& tokenizer, std::mt19937& rng) {
  std::vector<int32_t> ids;
  const std::string emoji = "😀é한a👍🏽\xF0\x9F";
  for (unsigned n = rng() % 60; n > 0; --n) {
    if (rng() % 4 == 0) {
      for (const char c : emoji.substr(rng() % 10, rng() % 12)) {
        const auto id = tokenizer.id_of(fmt::format("<0x{:02X}>", static_cast<unsigned char>(c)));
        if (id) ids.push_back(*id);
      }
    } else {
      ids.push_back(static_cast<int32_t>(rng() % (tokenizer.vocab_size() + 1)));  // one unknown id
    }
  }
  return ids;
}

void check_streams(const char* name, TokenizerSpec spec) {
  const Tokenizer tokenizer(std::move(spec));
  std::mt19937 rng(kSeed);
  for (int run = 0; run < 3000; ++run) {
    const auto ids = random_ids(tokenizer, rng);
    const bool skip = rng() % 2;
    const std::string whole = tokenizer.decode(ids, skip);
    Detokenizer stream(tokenizer, skip);
    std::string text;
    for (const int32_t id : ids) {
      const std::string part = stream.push(id);
      ASSERT_TRUE(!is_valid(whole) || is_valid(part)) << name << fmt::format(" {}", ids);
      text += part;
    }
    text += stream.finish();
    ASSERT_EQ(text, whole) << name << " seed " << kSeed << " run " << run
                           << fmt::format(" {}", ids);
  }
}

TEST(Detokenizer, ByteLevel) {
  check_streams("byte level", spec_of(byte_level_pieces(), {ByteLevelDecoder{}}));
}

TEST(Detokenizer, LlamaDecoders) {
  const ReplaceDecoder replace{{"▁", false}, " "};
  check_streams("llama",
                spec_of(byte_pieces() + kWords,
                        {replace, ByteFallbackDecoder{}, FuseDecoder{}, StripDecoder{U' ', 1, 0}}));
  check_streams("gemma",
                spec_of(byte_pieces() + kWords, {replace, ByteFallbackDecoder{}, FuseDecoder{}}));
  check_streams("strip at the end",
                spec_of(kWords, {replace, FuseDecoder{}, StripDecoder{U' ', 1, 1}}));
}

TEST(Detokenizer, OtherDecoders) {
  check_streams("wordpiece", spec_of(kWords, {WordPieceDecoder{}}));
  check_streams("metaspace", spec_of(kWords, {MetaspaceDecoder{}}));
  check_streams("bpe", spec_of(kWords, {BpeDecoder{}}));
  check_streams("ctc", spec_of(kWords, {CtcDecoder{}}));
  check_streams("none", spec_of(kWords, {}));
}

TEST(Detokenizer, SentencePiece) {
  for (const bool strip_all : {false, true}) {
    SentencePieceDecoder decoder;
    decoder.strip_all_leading = strip_all;
    decoder.byte_fallback = true;
    decoder.unk_piece = "b";
    decoder.unk_surface = " ? ";
    check_streams("sentencepiece", spec_of(byte_pieces() + kWords, {decoder}));
  }
}

TEST(Detokenizer, TextComesAsSoonAsItIsCertain) {
  const Tokenizer tokenizer(spec_of(byte_level_pieces(), {ByteLevelDecoder{}}));
  Detokenizer stream(tokenizer);
  EXPECT_EQ(stream.push('h'), "h");
  EXPECT_EQ(stream.push('i'), "i");
  EXPECT_EQ(stream.push(0xC3), "");
  EXPECT_EQ(stream.push(0xA9), "é");
  EXPECT_EQ(stream.push(' '), " ");
  EXPECT_EQ(stream.push(0xF0), "");
  EXPECT_EQ(stream.finish(), "\xEF\xBF\xBD");
}

// A stream must not become slower with its length, whatever the ids are.
TEST(Detokenizer, LongStreamsOfHalfCharacters) {
  const Tokenizer tokenizer(spec_of(byte_level_pieces(), {ByteLevelDecoder{}}));
  Detokenizer stream(tokenizer);
  size_t bytes = 0;
  for (int i = 0; i < 100'000; ++i) bytes += stream.push(0xF0).size();
  bytes += stream.finish().size();
  EXPECT_EQ(bytes, 300'000u);
}

}  // namespace
}  // namespace tokamak
