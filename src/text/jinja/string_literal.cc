#include "text/jinja/string_literal.h"

#include <cctype>
#include <cstdint>

#include "text/jinja/unicode.h"

namespace tokamak::jinja {

namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// The character that a one-letter escape stands for, or -1.
int simple_escape(char c) {
  switch (c) {
    case 'n':
      return '\n';
    case 't':
      return '\t';
    case 'r':
      return '\r';
    case '\\':
      return '\\';
    case '\'':
      return '\'';
    case '"':
      return '"';
    case 'a':
      return '\a';
    case 'b':
      return '\b';
    case 'f':
      return '\f';
    case 'v':
      return '\v';
    default:
      return -1;
  }
}

}  // namespace

std::string unescape(std::string_view body, std::string& error) {
  std::string out;
  out.reserve(body.size());
  for (size_t i = 0; i < body.size();) {
    if (body[i] != '\\' || i + 1 >= body.size()) {
      out += body[i++];
      continue;
    }
    const char c = body[i + 1];
    i += 2;
    if (const int simple = simple_escape(c); simple >= 0) {
      out += static_cast<char>(simple);
    } else if (c == '\n') {  // an escaped line end joins two lines
    } else if (c >= '0' && c <= '7') {
      uint32_t code = static_cast<uint32_t>(c - '0');
      for (int n = 1; n < 3 && i < body.size() && body[i] >= '0' && body[i] <= '7'; ++n)
        code = code * 8 + static_cast<uint32_t>(body[i++] - '0');
      append_utf8(out, code);
    } else if (c == 'x' || c == 'u' || c == 'U') {
      const size_t count = c == 'x' ? 2 : c == 'u' ? 4 : 8;
      uint64_t code = 0;
      for (size_t n = 0; n < count; ++n, ++i) {
        if (i >= body.size() || hex_digit(body[i]) < 0) {
          error = std::string("\\") + c + " needs " + std::to_string(count) + " hexadecimal digits";
          return out;
        }
        code = code * 16 + static_cast<uint64_t>(hex_digit(body[i]));
      }
      if (code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) {
        error = "an escape sequence names no Unicode character";
        return out;
      }
      append_utf8(out, static_cast<char32_t>(code));
    } else if (c == 'N') {
      error = "\\N{...} is not supported in strings";
      return out;
    } else {
      (out += '\\') += c;
    }
  }
  return out;
}

}  // namespace tokamak::jinja
