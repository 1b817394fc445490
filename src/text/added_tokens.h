// Finds the added tokens in a text: leftmost, of those the longest.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/byte_trie.h"
#include "text/regex.h"
#include "text/tokenizer_spec.h"

namespace tokamak {

struct TextSegment {
  std::string_view text;  // of a token: empty
  int32_t token = -1;     // ≥ 0: an added token stands here
};

class AddedTokens {
 public:
  // patterns[i] is what tokens[i] looks like in the text that is searched; empty: not searched.
  AddedTokens(std::vector<AddedToken> tokens, const std::vector<std::string>& patterns);

  bool empty() const { return trie_.empty(); }
  // Cuts valid text into segments, in order. parse_special: find special tokens too.
  void split(std::string_view text, bool parse_special, std::vector<TextSegment>& out) const;

 private:
  bool stands_alone(std::string_view text, size_t begin, size_t end) const;
  bool is_word(std::string_view character) const;

  std::vector<AddedToken> tokens_;
  ByteTrie trie_;  // pattern → index in tokens_
  bool first_byte_[256] = {};
  Regex word_;
};

}  // namespace tokamak
