#include "text/sp_normalizer.h"

#include "text/sp_utf8.h"

namespace tokamak {
namespace {

ByteTrie trie_of(const std::vector<std::string>& pieces) {
  std::vector<std::pair<std::string_view, int32_t>> keys;
  for (size_t i = 0; i < pieces.size(); ++i) keys.emplace_back(pieces[i], static_cast<int32_t>(i));
  return ByteTrie(std::move(keys));
}

}  // namespace

SpNormalizer::SpNormalizer(const SentencePieceNormalizer& spec, const std::string& source)
    : charsmap_(spec.charsmap, source),
      user_defined_(trie_of(spec.user_defined)),
      dummy_prefix_(spec.dummy_prefix),
      remove_extra_whitespaces_(spec.remove_extra_whitespaces),
      whitespace_as_suffix_(spec.whitespace_as_suffix),
      space_(spec.escape_whitespaces ? kSpaceSymbol : " ") {
  // ASCII bytes that no rule of ASCII bytes begins with, spaces apart.
  for (int c = 0; c < 128; ++c) {
    char text[2] = {static_cast<char>(c), 0};
    bool plain = c != ' ' && charsmap_.longest_prefix({text, 1}).length == 0;
    uint32_t node = ByteTrie::kRoot;
    if (!user_defined_.empty() && user_defined_.step(node, static_cast<unsigned char>(c)))
      plain = false;
    for (int d = 0; d < 128 && plain; ++d) {
      text[1] = static_cast<char>(d);
      plain = charsmap_.path_length({text, 2}) < 2;
    }
    plain_[c] = plain;
  }
}

// The next unit of the text and what it becomes.
CharsMap::Match SpNormalizer::next(std::string_view text) const {
  if (const size_t n = user_defined_.longest_prefix(text).first; n > 0)
    return {n, text.substr(0, n)};
  if (const CharsMap::Match rule = charsmap_.longest_prefix(text); rule.length > 0) return rule;
  const size_t n = valid_length(text);
  return n == 0 ? CharsMap::Match{1, kReplacement} : CharsMap::Match{n, text.substr(0, n)};
}

void SpNormalizer::normalize(std::string_view text, bool at_start, std::string& out) const {
  if (remove_extra_whitespaces_) {
    while (!text.empty()) {
      const CharsMap::Match unit = next(text);
      if (unit.replacement != " ") break;
      text.remove_prefix(unit.length);
    }
  }
  if (text.empty()) return;
  const size_t begin = out.size();
  out.reserve(begin + text.size() + text.size() / 4 + 8);
  const bool dummy = dummy_prefix_ == PrependScheme::kAlways ||
                     (dummy_prefix_ == PrependScheme::kFirst && at_start);
  if (dummy && !whitespace_as_suffix_) out += space_;

  bool after_space = remove_extra_whitespaces_;
  while (!text.empty()) {
    const auto c = static_cast<unsigned char>(text[0]);
    if (c < 128 && plain_[c] && (text.size() == 1 || static_cast<unsigned char>(text[1]) < 128)) {
      out += text[0];
      after_space = false;
      text.remove_prefix(1);
      continue;
    }
    CharsMap::Match unit = next(text);
    text.remove_prefix(unit.length);
    if (after_space)
      while (unit.replacement.starts_with(' ')) unit.replacement.remove_prefix(1);
    if (!unit.replacement.empty()) {
      for (const char byte : unit.replacement) byte == ' ' ? out += space_ : out += byte;
      after_space = unit.replacement.back() == ' ';
    }
    if (!remove_extra_whitespaces_) after_space = false;
  }
  if (remove_extra_whitespaces_)
    while (out.size() - begin >= space_.size() && out.ends_with(space_))
      out.resize(out.size() - space_.size());
  if (dummy && whitespace_as_suffix_) out += space_;
}

}  // namespace tokamak
