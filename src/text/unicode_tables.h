// What the Unicode library does not know: scripts, and which version knows a character. The
// reference tokenizers mix old and new versions of Unicode, and token ids depend on them.
#pragma once
#include <cstdint>
#include <span>
#include <string_view>

namespace tokamak::unicode {

// A number for the script in Unicode 9, Hiragana and Katakana counted as Han; 0: none (space,
// unassigned then).
int merged_script(char32_t c);

// 8: assigned by Unicode 8; 9: came with Unicode 9; 0: later or never.
int early_age(char32_t c);

// Characters of Unicode 16 that Unicode 14 does not have.
struct YoungRange {
  char32_t first, last;
  std::string_view category;  // "Lo"
  std::string_view script;    // of a few common ones, in lower case; else empty
  bool alphabetic;
};
std::span<const YoungRange> young_ranges();

}  // namespace tokamak::unicode
