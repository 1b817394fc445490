#include "text/jinja/lexer.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "base/error.h"
#include "text/jinja/string_literal.h"
#include "text/jinja/unicode.h"

namespace tokamak::jinja {

std::string normalize_source(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      out += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    } else {
      out += source[i];
    }
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

int line_of(std::string_view source, size_t offset) {
  const auto head = source.substr(0, offset);
  return 1 + static_cast<int>(std::count(head.begin(), head.end(), '\n'));
}

void syntax_error(std::string_view source, size_t offset, const std::string& message) {
  offset = std::min(offset, source.size());
  const auto head = source.substr(0, offset);
  const size_t newline = head.rfind('\n');
  const auto start = newline == std::string_view::npos ? 0 : newline + 1;
  fail("chat template, line {}, column {}: {}", line_of(source, offset),
       count_codes(head.substr(start)) + 1, message);
}

namespace {

constexpr std::array<std::string_view, 6> kLongOperators = {"//", "**", "==", "!=", ">=", "<="};
constexpr std::string_view kOperators = "+-/*%~[](){}<>=.:|,;";

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(source) {}

  std::vector<Token> run() {
    while (pos_ < source_.size()) root();
    emit(TokenType::kEnd, "", source_.size());
    return std::move(tokens_);
  }

 private:
  bool at(std::string_view text, size_t pos) const {
    return source_.compare(pos, text.size(), text) == 0;
  }
  bool at(std::string_view text) const { return at(text, pos_); }
  [[noreturn]] void fail_at(size_t offset, const std::string& message) const {
    syntax_error(source_, offset, message);
  }
  void emit(TokenType type, std::string text, size_t offset) {
    tokens_.push_back({type, std::move(text), offset});
  }
  void skip_space() { pos_ += leading_space(source_.substr(pos_)); }

  // After a tag: "-" eats white space; otherwise a tag that is no {{ }} eats one newline.
  void close_tag(size_t length, char sign, bool trim) {
    pos_ += length;
    if (sign == '-')
      skip_space();
    else if (sign == 0 && trim && at("\n"))
      ++pos_;
    line_starting_ = pos_ > 0 && source_[pos_ - 1] == '\n';
  }

  // The sign and length of an end tag ("%}", "-%}", "+%}") at `pos`; length 0 when there is none.
  std::pair<size_t, char> end_tag(std::string_view mark, size_t pos, bool plus) const {
    if (at(mark, pos)) return {mark.size(), 0};
    if (pos < source_.size() && (source_[pos] == '-' || (plus && source_[pos] == '+')) &&
        at(mark, pos + 1))
      return {mark.size() + 1, source_[pos]};
    return {0, 0};
  }

  // Text before a tag, stripped as the tag's sign or its place on the line asks.
  void emit_data(size_t start, size_t end, char sign, bool variable) {
    std::string_view text = source_.substr(start, end - start);
    if (sign == '-') {
      text.remove_suffix(trailing_space(text));
    } else if (sign != '+' && !variable) {
      const size_t newline = text.rfind('\n');
      const size_t line = newline == std::string_view::npos ? 0 : newline + 1;
      if ((line > 0 || line_starting_) && leading_space(text.substr(line)) == text.size() - line)
        text = text.substr(0, line);
    }
    if (!text.empty()) emit(TokenType::kData, std::string(text), start);
  }

  void root() {
    const size_t start = pos_;
    size_t tag = start;
    for (;; ++tag) {
      tag = source_.find('{', tag);
      if (tag == std::string_view::npos || tag + 1 >= source_.size()) {
        emit(TokenType::kData, std::string(source_.substr(start)), start);
        pos_ = source_.size();
        return;
      }
      if (source_[tag + 1] == '{' || source_[tag + 1] == '%' || source_[tag + 1] == '#') break;
    }
    const char kind = source_[tag + 1];
    pos_ = tag + 2;
    char sign = 0;
    if (pos_ < source_.size() && (source_[pos_] == '-' || source_[pos_] == '+'))
      sign = source_[pos_++];
    emit_data(start, tag, sign, kind == '{');
    line_starting_ = false;
    if (kind == '#')
      comment(tag);
    else if (kind == '{')
      inside(tag, TokenType::kVariableBegin, TokenType::kVariableEnd, "}}");
    else if (!raw(tag))
      inside(tag, TokenType::kBlockBegin, TokenType::kBlockEnd, "%}");
  }

  void comment(size_t tag) {
    const size_t end = source_.find("#}", pos_);
    if (end == std::string_view::npos) fail_at(tag, "this comment is not closed");
    const char before = end > pos_ ? source_[end - 1] : 0;
    pos_ = end;
    close_tag(2, before == '-' || before == '+' ? before : 0, true);
  }

  // {% raw %} … {% endraw %}; false when the tag is another one.
  bool raw(size_t tag) {
    size_t pos = pos_ + leading_space(source_.substr(pos_));
    if (!at("raw", pos)) return false;
    pos += 3;
    pos += leading_space(source_.substr(pos));
    const auto [length, sign] = end_tag("%}", pos, false);
    if (length == 0) return false;
    pos_ = pos;
    close_tag(length, sign, false);
    const size_t start = pos_;
    for (size_t open = start;; ++open) {
      open = source_.find("{%", open);
      if (open == std::string_view::npos) fail_at(tag, "this raw block is not closed");
      size_t p = open + 2;
      char open_sign = 0;
      if (p < source_.size() && (source_[p] == '-' || source_[p] == '+')) open_sign = source_[p++];
      p += leading_space(source_.substr(p));
      if (!at("endraw", p)) continue;
      p += 6;
      p += leading_space(source_.substr(p));
      const auto [end_length, end_sign] = end_tag("%}", p, true);
      if (end_length == 0) continue;
      emit_data(start, open, open_sign, false);
      pos_ = p;
      close_tag(end_length, end_sign, true);
      return true;
    }
  }

  void inside(size_t tag, TokenType begin, TokenType end, std::string_view mark) {
    emit(begin, "", tag);
    std::vector<char> open;
    for (;;) {
      if (open.empty()) {
        const auto [length, sign] = end_tag(mark, pos_, end == TokenType::kBlockEnd);
        if (length > 0) {
          emit(end, "", pos_);
          close_tag(length, sign, end == TokenType::kBlockEnd);
          return;
        }
      }
      skip_space();
      if (open.empty() && end_tag(mark, pos_, end == TokenType::kBlockEnd).first > 0) continue;
      if (pos_ >= source_.size()) fail_at(tag, "this tag is not closed");
      token(open);
    }
  }

  void token(std::vector<char>& open) {
    const auto c = static_cast<unsigned char>(source_[pos_]);
    if (std::isdigit(c)) return number();
    if (c == '"' || c == '\'') return string(static_cast<char>(c));
    if (c == '_' || std::isalpha(c) || c >= 0x80) return name();
    const size_t start = pos_;
    for (std::string_view op : kLongOperators) {
      if (!at(op)) continue;
      pos_ += 2;
      return emit(TokenType::kOperator, std::string(op), start);
    }
    if (kOperators.find(static_cast<char>(c)) == std::string_view::npos)
      fail_at(pos_, "unexpected character '" + std::string(1, static_cast<char>(c)) + "'");
    balance(open, static_cast<char>(c));
    ++pos_;
    emit(TokenType::kOperator, std::string(1, static_cast<char>(c)), start);
  }

  void balance(std::vector<char>& open, char c) {
    if (c == '(') open.push_back(')');
    if (c == '[') open.push_back(']');
    if (c == '{') open.push_back('}');
    if (c != ')' && c != ']' && c != '}') return;
    if (open.empty() || open.back() != c)
      fail_at(pos_, std::string("unexpected '") + c + "'" +
                        (open.empty() ? "" : std::string(", expected '") + open.back() + "'"));
    open.pop_back();
  }

  void name() {
    const size_t start = pos_;
    while (pos_ < source_.size()) {
      size_t next = pos_;
      const char32_t c = next_code(source_, next);
      if (!is_identifier_part(c)) break;
      pos_ = next;
    }
    if (pos_ == start) fail_at(start, "unexpected character");
    emit(TokenType::kName, std::string(source_.substr(start, pos_ - start)), start);
  }

  // Digits of `base` from `pos`, with single underscores between them; the end.
  size_t digits(size_t pos, int base) const {
    const auto digit = [&](size_t i) {
      if (i >= source_.size()) return false;
      const auto c = static_cast<unsigned char>(source_[i]);
      if (base == 16) return std::isxdigit(c) != 0;
      return c >= '0' && c < '0' + base;
    };
    while (digit(pos) || (pos < source_.size() && source_[pos] == '_' && digit(pos + 1))) ++pos;
    return pos;
  }

  // End of a float that starts at `pos`, or `pos` when there is none.
  size_t float_end(size_t pos) const {
    if (pos > 0 && source_[pos - 1] == '.') return pos;
    const size_t whole = digits(pos, 10);
    size_t end = whole;
    if (end + 1 < source_.size() && source_[end] == '.' &&
        std::isdigit(static_cast<unsigned char>(source_[end + 1])))
      end = digits(end + 1, 10);
    size_t e = end;
    if (e < source_.size() && (source_[e] == 'e' || source_[e] == 'E')) {
      ++e;
      if (e < source_.size() && (source_[e] == '+' || source_[e] == '-')) ++e;
      if (e < source_.size() && std::isdigit(static_cast<unsigned char>(source_[e])))
        end = digits(e, 10);
    }
    return end == whole ? pos : end;
  }

  size_t integer_end(size_t pos) const {
    if (source_[pos] == '0' && pos + 1 < source_.size()) {
      const char x = static_cast<char>(source_[pos + 1] | 0x20);
      const int base = x == 'x' ? 16 : x == 'o' ? 8 : x == 'b' ? 2 : 0;
      if (base) {
        const size_t end = digits(pos + 2, base);
        if (end > pos + 2) return end;
      }
    }
    if (source_[pos] != '0') return digits(pos, 10);
    size_t end = pos + 1;  // zeros only: a leading zero ends the number
    while (end < source_.size() && (source_[end] == '0' || (at("_0", end))))
      end += source_[end] == '0' ? 1 : 2;
    return end;
  }

  void number() {
    const size_t start = pos_;
    const size_t float_stop = float_end(start);
    const bool is_float = float_stop > start;
    pos_ = is_float ? float_stop : integer_end(start);
    std::string text(source_.substr(start, pos_ - start));
    std::erase(text, '_');
    emit(is_float ? TokenType::kFloat : TokenType::kInteger, std::move(text), start);
  }

  void string(char quote) {
    const size_t start = pos_;
    size_t end = start + 1;
    while (end < source_.size() && source_[end] != quote) end += source_[end] == '\\' ? 2 : 1;
    if (end >= source_.size()) fail_at(start, "this string is not closed");
    std::string error;
    std::string text = unescape(source_.substr(start + 1, end - start - 1), error);
    if (!error.empty()) fail_at(start, error);
    emit(TokenType::kString, std::move(text), start);
    pos_ = end + 1;
  }

  std::string_view source_;
  size_t pos_ = 0;
  bool line_starting_ = true;  // only white space of this line is behind us
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokenize(std::string_view source) {
  if (!valid_utf8(source)) fail("chat template: the source is not valid UTF-8");
  return Lexer(source).run();
}

}  // namespace tokamak::jinja
