#include "text/charsmap.h"

#include <cstring>

#include "base/error.h"
#include "text/unicode.h"

namespace tokamak {
namespace {

// A unit of the double array: label in bits 0-7, leaf mark in bit 8, offset in bits 9-30.
uint32_t label(uint32_t unit) { return unit & 0x800000ffu; }
bool has_leaf(uint32_t unit) { return (unit >> 8) & 1; }
uint32_t offset(uint32_t unit) { return (unit >> 10) << ((unit & 0x200u) >> 6); }

uint32_t read_u32(const char* p) {
  const auto* b = reinterpret_cast<const unsigned char*>(p);
  return b[0] | b[1] << 8 | b[2] << 16 | static_cast<uint32_t>(b[3]) << 24;
}

}  // namespace

CharsMap::CharsMap(std::string_view blob, const std::string& source) {
  if (blob.empty()) return;
  if (blob.size() < 4)
    fail("{}: precompiled_charsmap has {} bytes, expected at least 4", source, blob.size());
  const uint32_t trie_bytes = read_u32(blob.data());
  if (trie_bytes < 4 || trie_bytes % 4 != 0 || trie_bytes >= blob.size() - 4)
    fail("{}: precompiled_charsmap of {} bytes says that its trie has {} bytes", source,
         blob.size(), trie_bytes);
  units_.resize(trie_bytes / 4);
  for (size_t i = 0; i < units_.size(); ++i) units_[i] = read_u32(blob.data() + 4 + 4 * i);
  replacements_ = blob.substr(4 + trie_bytes);
  if (replacements_.back() != '\0')
    fail("{}: precompiled_charsmap does not end with a NUL byte", source);
  if (unicode::valid_prefix(replacements_) != replacements_.size())
    fail("{}: precompiled_charsmap: its replacements are not UTF-8", source);
}

// `node` holds the index that a child's label is combined with.
bool CharsMap::step(uint32_t& node, unsigned char c) const {
  const uint32_t child = node ^ c;
  if (child >= units_.size() || label(units_[child]) != c) return false;
  node = child;
  return true;
}

CharsMap::Match CharsMap::walk(std::string_view text, bool longest) const {
  Match match;
  if (units_.empty()) return match;
  uint32_t node = offset(units_[0]);
  for (size_t i = 0; i < text.size(); ++i) {
    if (!step(node, static_cast<unsigned char>(text[i]))) break;
    const uint32_t unit = units_[node];
    node ^= offset(unit);
    if (!has_leaf(unit) || node >= units_.size()) continue;
    match = {i + 1, replacement_at(units_[node] & 0x7fffffffu)};
    if (!longest) break;
  }
  return match;
}

CharsMap::Match CharsMap::longest_prefix(std::string_view text) const { return walk(text, true); }
CharsMap::Match CharsMap::shortest_prefix(std::string_view text) const { return walk(text, false); }

size_t CharsMap::path_length(std::string_view text) const {
  if (units_.empty()) return 0;
  uint32_t node = offset(units_[0]);
  for (size_t i = 0; i < text.size(); ++i) {
    if (!step(node, static_cast<unsigned char>(text[i]))) return i;
    node ^= offset(units_[node]);
  }
  return text.size();
}

std::string_view CharsMap::replacement_at(uint32_t at) const {
  if (at >= replacements_.size()) return {};
  // A damaged trie may point into the middle of a character.
  if ((static_cast<unsigned char>(replacements_[at]) & 0xC0) == 0x80) return {};
  return replacements_.data() + at;  // NUL-terminated: the constructor checked the last byte
}

}  // namespace tokamak
