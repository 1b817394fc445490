// Text as Python sees it: sequences of code points, case and character classes of Python's str,
// over UTF-8 storage.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace tokamak::jinja {

struct SpecialCase {
  char32_t code;
  char32_t mapped[3];  // zero-terminated when shorter
};
struct CodeRange {
  char32_t first, last;
};
extern const std::span<const SpecialCase> kUpperSpecials, kTitleSpecials;
extern const std::span<const CodeRange> kNonDecimalDigits, kNumericLetters;

bool valid_utf8(std::string_view text);
size_t count_codes(std::string_view text);  // code points; text must be valid UTF-8
std::u32string decode_utf8(std::string_view text);
void append_utf8(std::string& out, char32_t code);
std::string encode_utf8(std::u32string_view text);
// Decodes the code point at `pos` and advances past it.
char32_t next_code(std::string_view text, size_t& pos);
// Byte offset of code point `index` (index <= number of code points).
size_t byte_offset(std::string_view text, size_t index);

bool is_space(char32_t c);
bool is_alpha(char32_t c);
bool is_decimal(char32_t c);
bool is_digit(char32_t c);
bool is_numeric(char32_t c);
bool is_lower(char32_t c);
bool is_upper(char32_t c);
bool is_title(char32_t c);
bool is_printable(char32_t c);
bool is_word(char32_t c);             // regex \w
bool is_identifier_part(char32_t c);  // may continue a name in a template
inline bool is_alnum(char32_t c) { return is_alpha(c) || is_numeric(c) || is_digit(c); }
inline bool is_cased(char32_t c) { return is_lower(c) || is_upper(c) || is_title(c); }

std::string to_upper(std::string_view text);
std::string to_lower(std::string_view text);
std::string to_title(std::string_view text);        // str.title
std::string to_capitalized(std::string_view text);  // str.capitalize
std::string to_swapped_case(std::string_view text);

// Bytes of leading / trailing white space.
size_t leading_space(std::string_view text);
size_t trailing_space(std::string_view text);

}  // namespace tokamak::jinja
