#include "text/jinja/unicode.h"

#include <utf8proc.h>

#include <algorithm>

namespace tokamak::jinja {

namespace {

utf8proc_category_t category(char32_t c) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(c));
}

bool in_ranges(std::span<const CodeRange> ranges, char32_t c) {
  auto it = std::upper_bound(ranges.begin(), ranges.end(), c,
                             [](char32_t code, const CodeRange& r) { return code < r.first; });
  return it != ranges.begin() && c <= std::prev(it)->last;
}

// Appends the full mapping of `c` when it has one of several code points.
bool append_special(std::string& out, std::span<const SpecialCase> table, char32_t c) {
  auto it = std::lower_bound(table.begin(), table.end(), c,
                             [](const SpecialCase& s, char32_t code) { return s.code < code; });
  if (it == table.end() || it->code != c) return false;
  for (char32_t mapped : it->mapped)
    if (mapped) append_utf8(out, mapped);
  return true;
}

bool ascii(char32_t c) { return c < 0x80; }

void append_upper(std::string& out, char32_t c) {
  if (ascii(c))
    out += static_cast<char>(c >= 'a' && c <= 'z' ? c - 32 : c);
  else if (!append_special(out, kUpperSpecials, c))
    append_utf8(out, static_cast<char32_t>(utf8proc_toupper(static_cast<int32_t>(c))));
}

void append_title(std::string& out, char32_t c) {
  if (ascii(c))
    out += static_cast<char>(c >= 'a' && c <= 'z' ? c - 32 : c);
  else if (!append_special(out, kTitleSpecials, c))
    append_utf8(out, static_cast<char32_t>(utf8proc_totitle(static_cast<int32_t>(c))));
}

// Marks that do not count when a final sigma is looked for (Unicode's Case_Ignorable, approximated
// by the categories and the punctuation that define it).
bool case_ignorable(char32_t c) {
  switch (category(c)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK:
      return true;
    default:
      break;
  }
  return c == '\'' || c == '.' || c == ':' || c == 0xB7 || c == 0x2018 || c == 0x2019 ||
         c == 0x2024 || c == 0x2027 || c == 0x387 || c == 0x55F || c == 0x5F4;
}

bool is_final_sigma(std::u32string_view text, size_t i) {
  size_t before = i;
  while (before > 0 && case_ignorable(text[before - 1])) --before;
  if (before == 0 || !is_cased(text[before - 1])) return false;
  size_t after = i + 1;
  while (after < text.size() && case_ignorable(text[after])) ++after;
  return after == text.size() || !is_cased(text[after]);
}

void append_lower(std::string& out, std::u32string_view text, size_t i) {
  const char32_t c = text[i];
  if (ascii(c))
    out += static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  else if (c == 0x130)  // İ: the only letter whose lower case has two code points
    out += "i\xcc\x87";
  else if (c == 0x3A3)
    append_utf8(out, is_final_sigma(text, i) ? 0x3C2 : 0x3C3);
  else
    append_utf8(out, static_cast<char32_t>(utf8proc_tolower(static_cast<int32_t>(c))));
}

}  // namespace

bool valid_utf8(std::string_view text) {
  const auto* p = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  size_t pos = 0;
  while (pos < text.size()) {
    if (p[pos] < 0x80) {
      ++pos;
      continue;
    }
    utf8proc_int32_t code;
    const auto n =
        utf8proc_iterate(p + pos, static_cast<utf8proc_ssize_t>(text.size() - pos), &code);
    if (n <= 0) return false;
    pos += static_cast<size_t>(n);
  }
  return true;
}

size_t count_codes(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

char32_t next_code(std::string_view text, size_t& pos) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const char32_t lead = byte(pos);
  const size_t length = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  char32_t code = length == 1 ? lead : lead & (0x7F >> length);
  const size_t end = std::min(pos + length, text.size());
  for (size_t i = pos + 1; i < end; ++i) code = code << 6 | (byte(i) & 0x3F);
  pos = end;
  return code;
}

std::u32string decode_utf8(std::string_view text) {
  std::u32string out;
  out.reserve(text.size());
  for (size_t pos = 0; pos < text.size();) out += next_code(text, pos);
  return out;
}

void append_utf8(std::string& out, char32_t c) {
  utf8proc_uint8_t buffer[4];
  const auto n = utf8proc_encode_char(static_cast<utf8proc_int32_t>(c), buffer);
  out.append(reinterpret_cast<const char*>(buffer), static_cast<size_t>(n));
}

std::string encode_utf8(std::u32string_view text) {
  std::string out;
  out.reserve(text.size());
  for (char32_t c : text) append_utf8(out, c);
  return out;
}

size_t byte_offset(std::string_view text, size_t index) {
  size_t pos = 0;
  for (; index > 0 && pos < text.size(); --index) next_code(text, pos);
  return pos;
}

bool is_space(char32_t c) {
  if (ascii(c)) return (c >= 9 && c <= 13) || (c >= 0x1C && c <= 0x20);
  return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
         c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool is_alpha(char32_t c) {
  if (ascii(c)) return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  const auto k = category(c);
  return k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO;
}
bool is_decimal(char32_t c) {
  return ascii(c) ? c >= '0' && c <= '9' : category(c) == UTF8PROC_CATEGORY_ND;
}
bool is_digit(char32_t c) { return is_decimal(c) || in_ranges(kNonDecimalDigits, c); }
bool is_numeric(char32_t c) {
  if (ascii(c)) return is_decimal(c);
  const auto k = category(c);
  return (k >= UTF8PROC_CATEGORY_ND && k <= UTF8PROC_CATEGORY_NO) || in_ranges(kNumericLetters, c);
}
bool is_lower(char32_t c) {
  return ascii(c) ? c >= 'a' && c <= 'z' : utf8proc_islower(static_cast<int32_t>(c)) != 0;
}
bool is_upper(char32_t c) {
  return ascii(c) ? c >= 'A' && c <= 'Z' : utf8proc_isupper(static_cast<int32_t>(c)) != 0;
}
bool is_title(char32_t c) { return !ascii(c) && category(c) == UTF8PROC_CATEGORY_LT; }

bool is_printable(char32_t c) {
  if (ascii(c)) return c >= 0x20 && c < 0x7F;
  switch (category(c)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS:
      return false;
    default:
      return true;
  }
}

bool is_word(char32_t c) { return c == '_' || is_alnum(c); }

bool is_identifier_part(char32_t c) {
  if (is_word(c) && !(is_numeric(c) && !is_decimal(c) && !is_alpha(c))) return true;
  if (ascii(c)) return false;
  const auto k = category(c);
  return k == UTF8PROC_CATEGORY_MN || k == UTF8PROC_CATEGORY_MC || k == UTF8PROC_CATEGORY_PC ||
         k == UTF8PROC_CATEGORY_NL;
}

std::string to_upper(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t pos = 0; pos < text.size();) append_upper(out, next_code(text, pos));
  return out;
}

std::string to_lower(std::string_view text) {
  const std::u32string codes = decode_utf8(text);
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < codes.size(); ++i) append_lower(out, codes, i);
  return out;
}

std::string to_title(std::string_view text) {
  const std::u32string codes = decode_utf8(text);
  std::string out;
  bool in_word = false;
  for (size_t i = 0; i < codes.size(); ++i) {
    if (in_word)
      append_lower(out, codes, i);
    else
      append_title(out, codes[i]);
    in_word = is_cased(codes[i]);
  }
  return out;
}

std::string to_capitalized(std::string_view text) {
  const std::u32string codes = decode_utf8(text);
  std::string out;
  for (size_t i = 0; i < codes.size(); ++i) {
    if (i == 0)
      append_title(out, codes[i]);
    else
      append_lower(out, codes, i);
  }
  return out;
}

std::string to_swapped_case(std::string_view text) {
  const std::u32string codes = decode_utf8(text);
  std::string out;
  for (size_t i = 0; i < codes.size(); ++i) {
    if (is_upper(codes[i]))
      append_lower(out, codes, i);
    else if (is_lower(codes[i]))
      append_upper(out, codes[i]);
    else
      append_utf8(out, codes[i]);
  }
  return out;
}

size_t leading_space(std::string_view text) {
  size_t pos = 0;
  while (pos < text.size()) {
    size_t next = pos;
    if (!is_space(next_code(text, next))) break;
    pos = next;
  }
  return pos;
}

size_t trailing_space(std::string_view text) {
  size_t end = text.size();
  while (end > 0) {
    size_t start = end - 1;
    while (start > 0 && (static_cast<unsigned char>(text[start]) & 0xC0) == 0x80) --start;
    size_t pos = start;
    if (!is_space(next_code(text, pos))) break;
    end = start;
  }
  return text.size() - end;
}

}  // namespace tokamak::jinja
