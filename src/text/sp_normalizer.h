// SentencePiece's normalizer: charsmap by longest prefix, white space rules, dummy prefix.
#pragma once
#include <array>
#include <string>
#include <string_view>

#include "text/byte_trie.h"
#include "text/charsmap.h"
#include "text/tokenizer_spec.h"

namespace tokamak {

class SpNormalizer {
 public:
  SpNormalizer(const SentencePieceNormalizer& spec, const std::string& source);

  // Appends the normalized text. at_start: the text begins the whole input (decides about the dummy
  // prefix of PrependScheme::kFirst). Bytes that are not UTF-8 become U+FFFD, one each.
  void normalize(std::string_view text, bool at_start, std::string& out) const;

 private:
  CharsMap::Match next(std::string_view text) const;

  CharsMap charsmap_;
  ByteTrie user_defined_;
  PrependScheme dummy_prefix_;
  bool remove_extra_whitespaces_, whitespace_as_suffix_;
  std::array<bool, 128> plain_{};  // stays as it is when an ASCII byte or the end follows
  std::string space_;              // what a space becomes: " " or U+2581
};

}  // namespace tokamak
