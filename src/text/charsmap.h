// SentencePiece's precompiled charsmap: rules "prefix → replacement" in a double-array trie.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tokamak {

class CharsMap {
 public:
  CharsMap() = default;  // no rules
  // blob: u32 size of the trie in bytes, the trie, the replacements as NUL-terminated strings.
  // Empty: no rules. Throws Error naming `source` when the sizes do not fit.
  CharsMap(std::string_view blob, const std::string& source);

  bool empty() const { return units_.empty(); }

  struct Match {
    size_t length = 0;  // bytes of the text that the rule replaces; 0: no rule
    std::string_view replacement;
  };
  Match longest_prefix(std::string_view text) const;
  Match shortest_prefix(std::string_view text) const;
  // How many leading bytes of the text lie on some rule's path.
  size_t path_length(std::string_view text) const;

 private:
  bool step(uint32_t& node, unsigned char c) const;
  Match walk(std::string_view text, bool longest) const;
  std::string_view replacement_at(uint32_t offset) const;

  std::vector<uint32_t> units_;  // the double array
  std::string replacements_;
};

}  // namespace tokamak
