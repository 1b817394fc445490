// UTF-8 as SentencePiece walks it.
#pragma once
#include <algorithm>
#include <cstddef>
#include <string_view>

namespace tokamak {

inline constexpr std::string_view kSpaceSymbol = "\xE2\x96\x81";  // U+2581
inline constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

// Length of the character that its first byte announces, at most the rest of the text. The text
// must not be empty; it need not be valid.
inline size_t announced_length(std::string_view text) {
  const unsigned char c = static_cast<unsigned char>(text[0]) >> 4;
  const size_t n = c < 12 ? 1 : c < 14 ? 2 : c == 14 ? 3 : 4;
  return std::min(n, text.size());
}

// Length of the valid character at the beginning, 0 when there is none (overlong forms,
// surrogates and values above U+10FFFF are not valid).
inline size_t valid_length(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const auto trail = [&](size_t i) { return i < text.size() && (byte(i) & 0xC0) == 0x80; };
  if (text.empty()) return 0;
  const unsigned c = byte(0);
  if (c < 0x80) return 1;
  if (c < 0xC2 || c > 0xF4 || !trail(1)) return 0;
  if (c < 0xE0) return 2;
  if (!trail(2)) return 0;
  const unsigned second = byte(1);
  if (c < 0xF0) return (c == 0xE0 && second < 0xA0) || (c == 0xED && second >= 0xA0) ? 0 : 3;
  if (!trail(3)) return 0;
  return (c == 0xF0 && second < 0x90) || (c == 0xF4 && second >= 0x90) ? 0 : 4;
}

}  // namespace tokamak
