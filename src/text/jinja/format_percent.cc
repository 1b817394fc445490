// The % operator on strings.
#include <algorithm>

#include "text/jinja/format_spec.h"
#include "text/jinja/operators.h"
#include "text/jinja/text_ops.h"
#include "text/jinja/unicode.h"

namespace tokamak::jinja {

namespace {

class PercentFormatter {
 public:
  PercentFormatter(Heap& heap, std::string_view format, const Value& args)
      : heap_(heap), format_(format), args_(args) {}

  std::string run() {
    std::string out;
    while (pos_ < format_.size()) {
      const char c = format_[pos_++];
      if (c == '%')
        directive(out);
      else
        out += c;
      heap_.check_size(out.size(), 1);
    }
    // A mapping may go unused; so may what Python takes for one.
    const bool mapping = args_.is(Kind::kDict) || args_.is(Kind::kList) || args_.is(Kind::kRange) ||
                         args_.is_undefined();
    if (args_.is(Kind::kTuple) ? used_ < args_.list().items.size() : used_ == 0 && !mapping)
      raise("not all arguments of a format are used");
    return out;
  }

 private:
  const Value& next_argument() {
    if (args_.is(Kind::kTuple)) {
      if (used_ >= args_.list().items.size()) raise("a format has too few arguments");
      return args_.list().items[used_++];
    }
    if (used_++ > 0) raise("a format has too few arguments");
    return args_;
  }

  int64_t number(int64_t limit) {
    if (pos_ >= format_.size() || format_[pos_] != '*') return read_number(format_, pos_, limit);
    ++pos_;
    const Value& v = next_argument();
    if (!v.is_integral()) raise("'*' in a format needs an int");
    if (v.as_int() > limit || v.as_int() < -limit) raise("a number in a format is too large");
    return v.as_int();
  }

  struct Flags {
    bool left = false, zero = false;
  };

  Flags flags(FormatSpec& s) {
    Flags f;
    for (; pos_ < format_.size(); ++pos_) {
      switch (format_[pos_]) {
        case '-':
          f.left = true;
          break;
        case '0':
          f.zero = true;
          break;
        case '+':
          s.sign = '+';
          break;
        case ' ':
          s.sign = s.sign == '+' ? '+' : ' ';
          break;
        case '#':
          s.alternate = true;
          break;
        default:
          return f;
      }
    }
    return f;
  }

  // After '%': [(name)][flags][width][.precision]type
  void directive(std::string& out) {
    heap_.tick();
    const Value* named = nullptr;
    if (pos_ < format_.size() && format_[pos_] == '(') named = &mapping_key();
    FormatSpec s;
    Flags f = flags(s);
    s.width = number(kMaxWidth);
    if (s.width < 0) {
      f.left = true;
      s.width = -s.width;
    }
    if (pos_ < format_.size() && format_[pos_] == '.') {
      ++pos_;
      s.precision = std::max<int64_t>(number(kMaxPrecision), 0);
    }
    if (pos_ < format_.size() &&
        std::string_view("hlL").find(format_[pos_]) != std::string_view::npos)
      ++pos_;
    if (pos_ >= format_.size()) raise("a format ends inside a directive");
    const char type = format_[pos_++];
    if (type == '%') {
      out += '%';
      return;
    }
    s.align = f.left ? '<' : '>';
    convert(out, named ? *named : next_argument(), type, s, f.zero && !f.left);
  }

  const Value& mapping_key() {
    if (!args_.is(Kind::kDict)) raise("a format with names needs a dict");
    int open = 1;
    const size_t start = ++pos_;
    for (; pos_ < format_.size(); ++pos_) {
      if (format_[pos_] == '(') ++open;
      if (format_[pos_] == ')' && --open == 0) break;
    }
    if (pos_ >= format_.size()) raise("a name in a format is not closed");
    const std::string_view name = format_.substr(start, pos_ - start);
    const Value* v = args_.dict().find(name);
    if (!v) raise("a format needs '{}'", name);
    ++pos_;
    return *v;
  }

  void convert(std::string& out, const Value& v, char type, FormatSpec& s, bool zero) {
    switch (type) {
      case 's':
      case 'r':
        return text(out, v, type, s);
      case 'c':
        return character(out, v, s);
      case 'd':
      case 'i':
      case 'u':
      case 'x':
      case 'X':
      case 'o':
        return integer(out, v, type, s, zero);
      case 'e':
      case 'E':
      case 'f':
      case 'F':
      case 'g':
      case 'G':
        return real(out, v, type, s, zero);
      default:
        raise("'%{}' is not a format", type);
    }
  }

  void text(std::string& out, const Value& v, char type, const FormatSpec& s) {
    std::string shown;
    if (type == 's')
      append_text(heap_, shown, v);
    else
      append_repr(heap_, shown, v);
    if (s.precision >= 0) shown.resize(byte_offset(shown, static_cast<size_t>(s.precision)));
    out += pad(heap_, shown, s.width, " ", s.align);
  }

  static void fill_zero(FormatSpec& s, bool zero) {
    if (!zero) return;
    s.fill = "0";
    s.align = '=';
  }

  void real(std::string& out, const Value& v, char type, FormatSpec& s, bool zero) {
    if (v.is_undefined()) undefined_used(v);
    if (!v.is_number()) raise("'%{}' needs a number, not {}", type, type_name(v));
    s.type = type;
    fill_zero(s, zero);
    out += format_float(heap_, v.as_double(), s);
  }

  void character(std::string& out, const Value& v, FormatSpec& s) {
    if (v.is_string()) {
      if (v.string().length != 1) raise("'%c' needs one character");
      out += pad(heap_, v.text(), s.width, " ", s.align);
      return;
    }
    if (!v.is_integral()) raise("'%c' needs a character or an int");
    s.type = 'c';
    s.precision = -1;
    out += format_int(heap_, v.as_int(), s);
  }

  void integer(std::string& out, const Value& v, char type, FormatSpec& s, bool zero) {
    const bool decimal = type == 'd' || type == 'i' || type == 'u';
    if (v.is_undefined()) undefined_used(v);
    if (!v.is_integral() && !(decimal && v.is(Kind::kFloat)))
      raise("'%{}' needs an int, not {}", type, type_name(v));
    const int64_t i = v.is(Kind::kFloat) ? float_to_int(v.as_double()) : v.as_int();
    std::string body = digits_of(i, type == 'o' ? 8 : decimal ? 10 : 16, type == 'X');
    if (s.precision > static_cast<int64_t>(body.size()))
      body.insert(0, static_cast<size_t>(s.precision) - body.size(), '0');
    std::string sign = sign_text(i < 0, s.sign);
    if (s.alternate && !decimal) (sign += '0') += type;
    fill_zero(s, zero);
    out += place(heap_, s, sign, body, '>');
  }

  Heap& heap_;
  std::string_view format_;
  const Value& args_;
  size_t pos_ = 0, used_ = 0;
};

}  // namespace

std::string format_percent(Heap& heap, std::string_view format, const Value& args) {
  heap.tick(1 + format.size() / 16);
  return PercentFormatter(heap, format, args).run();
}

}  // namespace tokamak::jinja
