// The writing system of a character, as the UnicodeScripts pre-tokenizer sees it.
#pragma once
#include <cstdint>

namespace tokamak::unicode {

// A number for the script in Unicode 9, Hiragana and Katakana counted as Han; 0: none (space,
// unassigned then).
int merged_script(char32_t c);

}  // namespace tokamak::unicode
