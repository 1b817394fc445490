// Values by a format spec.
#include "text/jinja/format_spec.h"

#include <algorithm>
#include <cmath>

#include "text/jinja/format.h"
#include "text/jinja/operators.h"
#include "text/jinja/text_ops.h"
#include "text/jinja/unicode.h"

namespace tokamak::jinja {

std::string digits_of(int64_t value, int base, bool upper) {
  uint64_t magnitude = value < 0 ? 0 - static_cast<uint64_t>(value) : static_cast<uint64_t>(value);
  std::string out;
  do {
    const auto d = static_cast<size_t>(magnitude % static_cast<uint64_t>(base));
    out += (upper ? "0123456789ABCDEF" : "0123456789abcdef")[d];
    magnitude /= static_cast<uint64_t>(base);
  } while (magnitude);
  std::reverse(out.begin(), out.end());
  return out;
}

std::string sign_text(bool negative, char sign) {
  if (negative) return "-";
  return sign == '+' ? "+" : sign == ' ' ? " " : "";
}

int64_t read_number(std::string_view text, size_t& pos, int64_t limit) {
  int64_t n = 0;
  for (; pos < text.size() && std::isdigit(static_cast<unsigned char>(text[pos])); ++pos) {
    n = n * 10 + (text[pos] - '0');
    if (n > limit) raise("a number in a format is too large");
  }
  return n;
}

std::string place(Heap& heap, const FormatSpec& s, const std::string& sign, const std::string& body,
                  char otherwise) {
  const char align = s.align ? s.align : otherwise;
  if (align == '=')
    return sign + pad(heap, body, s.width - static_cast<int64_t>(sign.size()), s.fill, '>');
  return pad(heap, sign + body, s.width, s.fill, align == '^' ? '=' : align);
}

namespace {

std::string group_digits(const std::string& number, char mark) {
  size_t whole = 0;
  while (whole < number.size() && std::isdigit(static_cast<unsigned char>(number[whole]))) ++whole;
  std::string out;
  for (size_t i = 0; i < whole; ++i) {
    if (i && (whole - i) % 3 == 0) out += mark;
    out += number[i];
  }
  return out + number.substr(whole);
}

std::string grouped(const FormatSpec& s, std::string body) {
  return s.grouped || s.underscored ? group_digits(body, s.grouped ? ',' : '_') : body;
}

std::string c_float(double d, int64_t precision, char type, bool alternate) {
  const bool upper = std::isupper(static_cast<unsigned char>(type)) != 0;
  if (std::isnan(d)) return upper ? "NAN" : "nan";
  if (std::isinf(d)) return upper ? "INF" : "inf";
  const std::string format = std::string(alternate ? "%#.*" : "%.*") + type;
  std::string out(static_cast<size_t>(precision) + 400, '\0');
  const int n =
      std::snprintf(out.data(), out.size(), format.c_str(), static_cast<int>(precision), d);
  out.resize(static_cast<size_t>(n));
  return out;
}

// Without a type, a float prints as repr does, or as %g with this precision.
std::string general_float(double d, const FormatSpec& s) {
  if (s.precision < 0) return float_repr(std::fabs(d));
  std::string body = c_float(std::fabs(d), std::max<int64_t>(s.precision, 1), 'g', s.alternate);
  if (std::isfinite(d) && body.find_first_of(".e") == std::string::npos) body += ".0";
  return body;
}

}  // namespace

std::string format_int(Heap& heap, int64_t i, const FormatSpec& s) {
  if (s.precision >= 0) raise("an int takes no precision");
  std::string body, prefix;
  switch (s.type) {
    case 'b':
      body = digits_of(i, 2, false), prefix = "0b";
      break;
    case 'o':
      body = digits_of(i, 8, false), prefix = "0o";
      break;
    case 'x':
      body = digits_of(i, 16, false), prefix = "0x";
      break;
    case 'X':
      body = digits_of(i, 16, true), prefix = "0X";
      break;
    case 'c':
      if (i < 0 || i > 0x10FFFF || (i >= 0xD800 && i < 0xE000)) raise("{} is not a character", i);
      append_utf8(body, static_cast<char32_t>(i));
      return pad(heap, body, s.width, s.fill, s.align == '^' ? '=' : s.align ? s.align : '<');
    default:
      body = digits_of(i, 10, false);
  }
  const std::string sign = sign_text(i < 0, s.sign) + (s.alternate ? prefix : "");
  return place(heap, s, sign, grouped(s, body), '>');
}

std::string format_float(Heap& heap, double d, const FormatSpec& s) {
  const int64_t precision = s.precision < 0 ? 6 : s.precision;
  const bool general = s.type == 'g' || s.type == 'G' || s.type == 'n';
  std::string body;
  if (s.type == '%')
    body = c_float(std::fabs(d) * 100, precision, 'f', s.alternate) + "%";
  else if (s.type == 0)
    body = general_float(d, s);
  else
    body = c_float(std::fabs(d), general ? std::max<int64_t>(precision, 1) : precision,
                   s.type == 'n' ? 'g' : s.type, s.alternate);
  const bool negative = std::signbit(d) && !std::isnan(d);
  return place(heap, s, sign_text(negative, s.sign), grouped(s, body), '>');
}

namespace {

bool is_align(char c) { return c == '<' || c == '>' || c == '^' || c == '='; }

// [[fill]align][sign][#][0][width][,_][.precision][type]
FormatSpec parse_spec(std::string_view text) {
  FormatSpec s;
  size_t pos = 0;
  if (!text.empty()) {
    size_t after = 0;
    next_code(text, after);
    if (after < text.size() && is_align(text[after])) {
      s.fill = std::string(text.substr(0, after));
      s.align = text[after];
      pos = after + 1;
    } else if (is_align(text[0])) {
      s.align = text[0];
      pos = 1;
    }
  }
  const auto take = [&](char c) {
    const bool found = pos < text.size() && text[pos] == c;
    pos += found;
    return found;
  };
  if (pos < text.size() && (text[pos] == '+' || text[pos] == '-' || text[pos] == ' '))
    s.sign = text[pos++];
  s.alternate = take('#');
  if (take('0') && !s.align) {
    s.fill = "0";
    s.align = '=';
  }
  s.width = read_number(text, pos, kMaxWidth);
  s.grouped = take(',');
  s.underscored = take('_');
  if (take('.')) {
    const size_t start = pos;
    s.precision = read_number(text, pos, kMaxPrecision);
    if (pos == start) raise("a format lacks its precision");
  }
  if (pos < text.size()) s.type = text[pos++];
  if (pos < text.size()) raise("'{}' is not a format", text);
  return s;
}

std::string format_text(Heap& heap, std::string_view text, const FormatSpec& s) {
  if (s.align == '=' && s.fill != "0") raise("'=' does not align strings");
  if (s.sign != '-' || s.alternate || s.grouped || s.underscored)
    raise("this format is not for strings");
  if (s.precision >= 0) text = text.substr(0, byte_offset(text, static_cast<size_t>(s.precision)));
  const char align = s.align == '^' ? '=' : s.align == 0 || s.align == '=' ? '<' : s.align;
  return pad(heap, text, s.width, s.fill, align);
}

}  // namespace

std::string format_value(Heap& heap, const Value& v, std::string_view spec) {
  if (spec.empty()) return to_text(heap, v);
  if (!v.is_string() && !v.is_number()) raise("a {} takes no format", type_name(v));
  const FormatSpec s = parse_spec(spec);
  const auto type_in = [&](std::string_view types) {
    return s.type == 0 || types.find(s.type) != std::string_view::npos;
  };
  if (v.is_string()) {
    if (!type_in("s")) raise("'{}' does not format strings", s.type);
    return format_text(heap, v.text(), s);
  }
  if (v.is(Kind::kFloat)) {
    if (!type_in("eEfFgG%n")) raise("'{}' does not format floats", s.type);
    return format_float(heap, v.as_double(), s);
  }
  if (s.type && type_in("eEfFgG%")) return format_float(heap, v.as_double(), s);
  if (!type_in("bcdoxXn")) raise("'{}' does not format integers", s.type);
  return format_int(heap, v.as_int(), s);
}

}  // namespace tokamak::jinja
