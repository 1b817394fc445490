#include "text/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>

#include "base/error.h"
#include "text/unicode_tables.h"

namespace tokamak::unicode {
namespace {

struct Free {
  void operator()(utf8proc_uint8_t* p) const { std::free(p); }
};

// Length of the valid character at s, or 0.
size_t valid_char(std::string_view s) {
  const auto byte = [&](size_t i) -> unsigned { return static_cast<unsigned char>(s[i]); };
  const auto continues = [&](size_t i, unsigned low = 0x80, unsigned high = 0xBF) {
    return i < s.size() && byte(i) >= low && byte(i) <= high;
  };
  const unsigned lead = byte(0);
  if (lead < 0x80) return 1;
  if (lead >= 0xC2 && lead <= 0xDF) return continues(1) ? 2 : 0;
  if (lead >= 0xE0 && lead <= 0xEF) {
    const unsigned low = lead == 0xE0 ? 0xA0 : 0x80, high = lead == 0xED ? 0x9F : 0xBF;
    return continues(1, low, high) && continues(2) ? 3 : 0;
  }
  if (lead >= 0xF0 && lead <= 0xF4) {
    const unsigned low = lead == 0xF0 ? 0x90 : 0x80, high = lead == 0xF4 ? 0x8F : 0xBF;
    return continues(1, low, high) && continues(2) && continues(3) ? 4 : 0;
  }
  return 0;
}

struct CharRange {
  char32_t first, last;
};

// Numbers and lower-case pairs of Unicode 15.1 to 17, which utf8proc 2.8 does not have.
constexpr std::array<CharRange, 9> kYoungNumbers = {{{0x10D40, 0x10D49},
                                                     {0x116D0, 0x116E3},
                                                     {0x11BF0, 0x11BF9},
                                                     {0x11DE0, 0x11DE9},
                                                     {0x16130, 0x16139},
                                                     {0x16D70, 0x16D79},
                                                     {0x16FF4, 0x16FF6},
                                                     {0x1CCF0, 0x1CCF9},
                                                     {0x1E5F1, 0x1E5FA}}};
constexpr std::array<CharRange, 8> kYoungLower = {{{0x1C89, 0x1C8A},
                                                   {0xA7CB, 0x264},
                                                   {0xA7CC, 0xA7CD},
                                                   {0xA7CE, 0xA7CF},
                                                   {0xA7D2, 0xA7D3},
                                                   {0xA7D4, 0xA7D5},
                                                   {0xA7DA, 0xA7DB},
                                                   {0xA7DC, 0x19B}}};

bool in_ranges(char32_t c, std::span<const CharRange> ranges) {
  return std::any_of(ranges.begin(), ranges.end(),
                     [c](CharRange r) { return c >= r.first && c <= r.last; });
}

char32_t young_lower(char32_t c) {
  if (c >= 0x10D50 && c <= 0x10D65) return c + 0x20;
  if (c >= 0x16EA0 && c <= 0x16EB8) return c + 0x1B;
  for (const auto [upper, lower] : kYoungLower) {
    if (c == upper) return lower;
  }
  return c;
}

utf8proc_category_t category(char32_t c) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(c));
}

}  // namespace

char32_t previous(std::string_view s, size_t& at) {
  do {
    --at;
  } while (at > 0 && (static_cast<unsigned char>(s[at]) & 0xC0) == 0x80);
  size_t i = at;
  return next(s, i);
}

void append(std::string& out, char32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xC0 | c >> 6);
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    out += static_cast<char>(0xE0 | c >> 12);
    out += static_cast<char>(0x80 | (c >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | c >> 18);
    out += static_cast<char>(0x80 | (c >> 12 & 0x3F));
    out += static_cast<char>(0x80 | (c >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  }
}

std::string to_utf8(char32_t c) {
  std::string out;
  append(out, c);
  return out;
}

size_t count(std::string_view s) {
  size_t n = 0;
  for (const char c : s) n += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  return n;
}

size_t valid_prefix(std::string_view s) {
  size_t at = 0;
  while (at < s.size()) {
    uint64_t word = 0;
    while (at + 8 <= s.size()) {  // ASCII, eight bytes at a time
      std::memcpy(&word, s.data() + at, 8);
      if (word & 0x8080808080808080ull) break;
      at += 8;
    }
    if (at == s.size()) break;
    const size_t length = valid_char(s.substr(at));
    if (length == 0) return at;
    at += length;
  }
  return at;
}

size_t invalid_length(std::string_view s) {
  const auto byte = [&](size_t i) -> unsigned { return static_cast<unsigned char>(s[i]); };
  const unsigned lead = byte(0);
  if (lead < 0xE0 || lead > 0xF4 || s.size() < 2) return 1;
  unsigned low = 0x80, high = 0xBF;
  if (lead == 0xE0) low = 0xA0;
  if (lead == 0xED) high = 0x9F;
  if (lead == 0xF0) low = 0x90;
  if (lead == 0xF4) high = 0x8F;
  if (byte(1) < low || byte(1) > high) return 1;
  if (lead < 0xF0 || s.size() < 3 || byte(2) < 0x80 || byte(2) > 0xBF) return 2;
  return 3;
}

std::string to_valid(std::string_view s) {
  std::string out;
  while (!s.empty()) {
    const size_t good = valid_prefix(s);
    out.append(s.substr(0, good));
    s.remove_prefix(good);
    if (s.empty()) break;
    append(out, kReplacement);
    s.remove_prefix(invalid_length(s));
  }
  return out;
}

bool is_whitespace(char32_t c) {
  if (c < 0x80) return c == ' ' || (c >= 9 && c <= 13);
  if (c == 0x85) return true;
  if (c < 0x3001 && c != 0xA0 && c < 0x1680) return false;
  switch (category(c)) {
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
      return true;
    default:
      return false;
  }
}

bool is_numeric(char32_t c) {
  if (c < 0x80) return c >= '0' && c <= '9';
  const auto k = category(c);
  if (k == UTF8PROC_CATEGORY_ND || k == UTF8PROC_CATEGORY_NL || k == UTF8PROC_CATEGORY_NO) {
    return true;
  }
  return k == UTF8PROC_CATEGORY_CN && in_ranges(c, kYoungNumbers);
}

bool is_punctuation(char32_t c) {
  if (c < 0x80) {
    return (c >= 33 && c <= 47) || (c >= 58 && c <= 64) || (c >= 91 && c <= 96) ||
           (c >= 123 && c <= 126);
  }
  if (c == 0x166D || c == 0x111C9) return true;  // were punctuation in Unicode 8
  const auto k = category(c);
  return k >= UTF8PROC_CATEGORY_PC && k <= UTF8PROC_CATEGORY_PO && early_age(c) == 8;
}

bool is_other(char32_t c) {
  const auto k = category(c);
  if (k == UTF8PROC_CATEGORY_CC || k == UTF8PROC_CATEGORY_CO) return true;
  return k == UTF8PROC_CATEGORY_CF && early_age(c) == 8;
}

bool is_nonspacing(char32_t c) {
  if (c == 0x1734) return true;  // a spacing mark since Unicode 14
  // These have become nonspacing marks since.
  if (c == 0x1885 || c == 0x1886 || c == 0xA9BD || c == 0x111C9) return false;
  return c >= 0x300 && category(c) == UTF8PROC_CATEGORY_MN && early_age(c) == 8;
}

bool is_mark(char32_t c) {
  if (c < 0x300 || c == 0x111C9) return false;
  if (c == 0x1CF2 || c == 0x1CF3) return true;  // were marks in Unicode 9
  const auto k = category(c);
  return k >= UTF8PROC_CATEGORY_MN && k <= UTF8PROC_CATEGORY_ME && early_age(c) != 0;
}

void append_lower(std::string& out, char32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  } else if (c == 0x130) {  // the one character whose full lower case is longer: i + dot above
    out += "i\xCC\x87";
  } else {
    const auto lower = static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c)));
    append(out, lower != c ? lower : young_lower(c));
  }
}

namespace {

void append_normalized(std::string_view valid, utf8proc_option_t options, std::string& out) {
  utf8proc_uint8_t* raw = nullptr;
  const auto size = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(valid.data()),
                                 static_cast<utf8proc_ssize_t>(valid.size()), &raw, options);
  const std::unique_ptr<utf8proc_uint8_t, Free> owner(raw);
  if (size < 0) fail("Unicode normalization failed: {}", utf8proc_errmsg(size));
  out.append(reinterpret_cast<const char*>(raw), static_cast<size_t>(size));
}

// Bytes from `at` to the first character that stands for itself alone (unknown to Unicode 9);
// `plain`: all are ASCII.
size_t known_until(std::string_view valid, size_t at, bool& plain) {
  plain = true;
  while (at < valid.size()) {
    if (static_cast<unsigned char>(valid[at]) < 0x80) {
      ++at;
      continue;
    }
    size_t end = at;
    const char32_t c = next(valid, end);
    // U+11A7 is no trailing consonant, but utf8proc composes it away like one.
    if ((c >= 0x378 && early_age(c) == 0) || c == 0x11A7) return at;
    plain = false;
    at = end;
  }
  return at;
}

}  // namespace

std::string normalize(std::string_view valid, NormalForm form) {
  int options = UTF8PROC_STABLE;
  const bool compose = form == NormalForm::kNfc || form == NormalForm::kNfkc;
  options |= compose ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE;
  if (form == NormalForm::kNfkc || form == NormalForm::kNfkd) options |= UTF8PROC_COMPAT;
  std::string out;
  out.reserve(valid.size() + valid.size() / 8);
  for (size_t at = 0; at < valid.size();) {
    bool plain = true;
    const size_t end = known_until(valid, at, plain);
    const std::string_view part = valid.substr(at, end - at);
    if (plain) {
      out += part;
    } else {
      append_normalized(part, static_cast<utf8proc_option_t>(options), out);
    }
    at = end;
    if (at < valid.size()) {  // a character without properties parts the text
      const size_t length = char_length(static_cast<unsigned char>(valid[at]));
      out += valid.substr(at, length);
      at += length;
    }
  }
  return out;
}

}  // namespace tokamak::unicode
