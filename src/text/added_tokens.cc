#include "text/added_tokens.h"

#include "text/unicode.h"

namespace tokamak {
namespace {

size_t spaces_begin(std::string_view text, size_t end) {
  while (end > 0) {
    size_t i = end;
    if (!unicode::is_whitespace(unicode::previous(text, i))) break;
    end = i;
  }
  return end;
}

size_t spaces_end(std::string_view text, size_t begin) {
  while (begin < text.size()) {
    size_t i = begin;
    if (!unicode::is_whitespace(unicode::next(text, i))) break;
    begin = i;
  }
  return begin;
}

}  // namespace

AddedTokens::AddedTokens(std::vector<AddedToken> tokens, const std::vector<std::string>& patterns)
    : tokens_(std::move(tokens)), word_("^\\w", "added_tokens", RegexDialect::kRust) {
  std::vector<std::pair<std::string_view, int32_t>> keys;
  for (size_t i = 0; i < tokens_.size(); ++i) {
    if (patterns[i].empty()) continue;
    keys.emplace_back(patterns[i], static_cast<int32_t>(i));
    first_byte_[static_cast<unsigned char>(patterns[i][0])] = true;
  }
  trie_ = ByteTrie(std::move(keys));
}

bool AddedTokens::is_word(std::string_view character) const {
  Regex::Matcher matcher(word_, character);
  Regex::Match match;
  return matcher.next(match);
}

bool AddedTokens::stands_alone(std::string_view text, size_t begin, size_t end) const {
  if (begin > 0) {
    size_t i = begin;
    unicode::previous(text, i);
    if (is_word(text.substr(i, begin - i))) return false;
  }
  if (end < text.size()) {
    const size_t length = unicode::char_length(static_cast<unsigned char>(text[end]));
    if (is_word(text.substr(end, length))) return false;
  }
  return true;
}

void AddedTokens::split(std::string_view text, bool parse_special,
                        std::vector<TextSegment>& out) const {
  size_t done = 0;  // everything before belongs to a segment
  for (size_t at = 0; at < text.size();) {
    if (!first_byte_[static_cast<unsigned char>(text[at])]) {
      ++at;
      continue;
    }
    const auto [length, index] = trie_.longest_prefix(text.substr(at));
    if (length == 0) {
      ++at;
      continue;
    }
    const AddedToken& token = tokens_[static_cast<size_t>(index)];
    size_t begin = at, end = at + length;
    at = end;  // a match that does not count is not searched again either
    if (token.special && !parse_special) continue;
    if (token.single_word && !stands_alone(text, begin, end)) continue;
    if (token.lstrip) begin = std::max(spaces_begin(text, begin), done);
    if (token.rstrip) end = spaces_end(text, end);
    if (done < begin) out.push_back({text.substr(done, begin - done), -1});
    out.push_back({{}, token.id});
    done = end;
  }
  if (done < text.size()) out.push_back({text.substr(done), -1});
}

}  // namespace tokamak
