// UTF-8 and character classes. Functions that take a string_view of "valid" text rely on it being
// valid UTF-8; text from outside goes through valid_prefix() first.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace tokamak::unicode {

inline constexpr char32_t kReplacement = 0xFFFD;

inline size_t char_length(unsigned char lead) {
  return lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
}

// The character at `at` of valid text; moves `at` behind it.
inline char32_t next(std::string_view s, size_t& at) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(s[i]); };
  const unsigned char lead = byte(at);
  if (lead < 0x80) return s[at++];
  if (lead < 0xE0) {
    at += 2;
    return (lead & 0x1Fu) << 6 | (byte(at - 1) & 0x3Fu);
  }
  if (lead < 0xF0) {
    at += 3;
    return (lead & 0x0Fu) << 12 | (byte(at - 2) & 0x3Fu) << 6 | (byte(at - 1) & 0x3Fu);
  }
  at += 4;
  return (lead & 0x07u) << 18 | (byte(at - 3) & 0x3Fu) << 12 | (byte(at - 2) & 0x3Fu) << 6 |
         (byte(at - 1) & 0x3Fu);
}

// The character that ends at `at` (> 0) of valid text; moves `at` before it.
char32_t previous(std::string_view s, size_t& at);

void append(std::string& out, char32_t c);
std::string to_utf8(char32_t c);
size_t count(std::string_view s);  // characters of valid text

// Bytes of the longest valid prefix; s.size() when all is valid.
size_t valid_prefix(std::string_view s);
// Bytes that one U+FFFD stands for where s (not empty) begins with an invalid sequence: the longest
// start of a valid character, or one byte (Unicode's "maximal subpart" practice).
size_t invalid_length(std::string_view s);
// Every invalid sequence replaced by U+FFFD.
std::string to_valid(std::string_view s);

bool is_whitespace(char32_t c);                   // property White_Space
bool is_numeric(char32_t c);                      // Nd, Nl, No
bool is_punctuation(char32_t c);                  // P*, and the ASCII symbols
bool is_other(char32_t c);                        // Cc, Cf, Co, Cs; not Cn
bool is_nonspacing(char32_t c);                   // Mn
bool is_mark(char32_t c);                         // Mn, Mc, Me
void append_lower(std::string& out, char32_t c);  // full, without context

enum class NormalForm { kNfc, kNfd, kNfkc, kNfkd };
std::string normalize(std::string_view valid, NormalForm form);  // Unicode 9

}  // namespace tokamak::unicode
