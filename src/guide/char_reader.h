// Reads a pattern or a grammar character by character; errors name the place.
#pragma once
#include <string>
#include <string_view>

#include "base/error.h"
#include "guide/expr.h"

namespace tokamak::guide {

class CharReader {
 public:
  // `where` begins messages. Error unless the text is UTF-8.
  CharReader(std::string_view text, std::string where);

  bool done() const { return at_ >= text_.size(); }
  char32_t peek(size_t ahead = 0) const {
    return at_ + ahead < text_.size() ? text_[at_ + ahead] : U'\0';
  }
  char32_t take() { return text_[at_++]; }  // not at the end
  bool take_if(char32_t c);
  bool take_if(std::u32string_view s);
  bool sees(std::u32string_view s) const { return text_.substr(at_).starts_with(s); }
  int64_t number();          // decimal digits; Error without one, or beyond a million
  char32_t hex(int digits);  // exactly so many
  char32_t braced_hex();     // {1F600}
  size_t position() const { return at_; }
  void go_to(size_t position) { at_ = position; }
  [[noreturn]] void wrong(const std::string& what) const;  // "where: what at line L, column C"

 private:
  std::u32string storage_;
  std::u32string_view text_;
  std::string where_;
  size_t at_ = 0;
};

std::string to_utf8(char32_t c);
// Error unless the text is UTF-8.
std::u32string from_utf8(std::string_view text, const std::string& where);
bool is_word(char32_t c);  // ASCII letters, digits and _

}  // namespace tokamak::guide
