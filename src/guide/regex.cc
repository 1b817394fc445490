#include "guide/regex.h"

#include <algorithm>

#include "guide/char_reader.h"

namespace tokamak::guide {
namespace {

constexpr int kMostNesting = 200;

CharSet digits() { return {{'0', '9'}}; }
CharSet words() { return normalized({{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}}); }
CharSet spaces() { return normalized({{'\t', '\r'}, {' ', ' '}}); }
// What any of the dialects calls a space: \S holds none of them.
CharSet all_spaces() {
  return normalized({{0x09, 0x0D},
                     {0x1C, 0x20},
                     {0x85, 0x85},
                     {0xA0, 0xA0},
                     {0x1680, 0x1680},
                     {0x2000, 0x200A},
                     {0x2028, 0x2029},
                     {0x202F, 0x202F},
                     {0x205F, 0x205F},
                     {0x3000, 0x3000},
                     {0xFEFF, 0xFEFF}});
}
CharSet line_ends() { return normalized({{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}}); }

// Both cases of ASCII letters.
CharSet without_case(const CharSet& set) {
  CharSet out = set;
  for (const CharRange& r : intersection(set, {{'a', 'z'}}))
    out.push_back({r.first - 32, r.last - 32});
  for (const CharRange& r : intersection(set, {{'A', 'Z'}}))
    out.push_back({r.first + 32, r.last + 32});
  return normalized(std::move(out));
}

class Parser {
 public:
  Parser(std::string_view pattern, const std::string& where, bool search)
      : in_(pattern, fmt::format("{}: regular expression '{}'", where, pattern)), search_(search) {}

  ExprPtr parse() {
    take_flags();
    ExprPtr e = alternatives(true);
    if (!in_.done()) in_.wrong("a ) without (");
    return e;
  }

 private:
  void take_flags() {
    while (in_.sees(U"(?i)") || in_.sees(U"(?s)") || in_.sees(U"(?u)")) {
      in_.take(), in_.take();
      const char32_t flag = in_.take();
      in_.take();
      ignore_case_ = ignore_case_ || flag == 'i';
      dot_all_ = dot_all_ || flag == 's';
    }
  }

  ExprPtr alternatives(bool outermost) {
    if (++depth_ > kMostNesting) in_.wrong("groups nest too deeply");
    std::vector<ExprPtr> parts;
    do {
      parts.push_back(alternative(outermost));
    } while (in_.take_if(U'|'));
    --depth_;
    return choice(std::move(parts));
  }

  // Anchors count at the ends of the outermost alternatives.
  ExprPtr alternative(bool outermost) {
    bool begins = false, ends = false;
    while (outermost && (in_.take_if(U'^') || in_.take_if(std::u32string_view(U"\\A"))))
      begins = true;
    std::vector<ExprPtr> parts;
    while (!in_.done() && in_.peek() != '|' && in_.peek() != ')') {
      if (outermost && at_end_anchor()) {
        ends = true;
        break;
      }
      parts.push_back(repeated());
    }
    if (outermost && search_) {
      const ExprPtr anything = repeat(chars(any_char()), 0, kUnbounded);
      if (!begins) parts.insert(parts.begin(), anything);
      if (!ends) parts.push_back(anything);
    }
    return sequence(std::move(parts));
  }

  bool at_end_anchor() {
    const size_t before = in_.position();
    bool any = false;
    while (in_.take_if(U'$') || in_.take_if(std::u32string_view(U"\\Z")) ||
           in_.take_if(std::u32string_view(U"\\z")))
      any = true;
    if (any && (in_.done() || in_.peek() == '|')) return true;
    if (any) in_.wrong("$ is supported at the end of a pattern alone: found");
    in_.go_to(before);
    return false;
  }

  ExprPtr repeated() {
    ExprPtr e = atom();
    while (!in_.done()) {
      int64_t min = 0, max = kUnbounded;
      if (in_.take_if(U'*')) {
      } else if (in_.take_if(U'+')) {
        min = 1;
      } else if (in_.take_if(U'?')) {
        max = 1;
      } else if (!counted(min, max)) {
        break;
      }
      if (in_.take_if(U'+')) in_.wrong("possessive repetition is not supported: found");
      in_.take_if(U'?');  // lazy: the same texts match
      e = repeat(std::move(e), min, max);
    }
    return e;
  }

  // {3}, {3,}, {3,5}, {,5}; false when the brace is a character of its own.
  bool counted(int64_t& min, int64_t& max) {
    const auto is_digit = [](char32_t c) { return c >= '0' && c <= '9'; };
    if (in_.peek() != '{' ||
        !(is_digit(in_.peek(1)) || (in_.peek(1) == ',' && is_digit(in_.peek(2)))))
      return false;
    in_.take();
    min = in_.peek() == ',' ? 0 : in_.number();
    max = min;
    if (in_.take_if(U',')) max = in_.peek() == '}' ? kUnbounded : in_.number();
    if (!in_.take_if(U'}')) in_.wrong("expected }");
    if (max < min) in_.wrong("a repetition whose maximum is below its minimum");
    return true;
  }

  ExprPtr atom() {
    switch (in_.peek()) {
      case '(':
        return group();
      case '[':
        return set(bracket());
      case '.':
        in_.take();
        return chars(dot_all_ ? any_char() : complement(line_ends()));
      case '\\':
        in_.take();
        return set(escape(false));
      case '^':
      case '$':
        in_.wrong("^ and $ are supported at the ends of a pattern alone: found");
      case '*':
      case '+':
      case '?':
        in_.wrong("nothing to repeat");
      default: {
        const char32_t c = in_.take();
        return set({{c, c}});
      }
    }
  }

  ExprPtr set(CharSet s) const {
    return chars(ignore_case_ ? without_case(s) : normalized(std::move(s)));
  }

  ExprPtr group() {
    in_.take();
    if (in_.take_if(U'?')) {
      if (in_.take_if(U':')) {
      } else if (in_.peek() == 'P' && in_.peek(1) == '<') {
        in_.take(), in_.take();
        name();
      } else if (in_.peek() == '<' && in_.peek(1) != '=' && in_.peek(1) != '!') {
        in_.take();
        name();
      } else {
        in_.wrong(
            "look-around, back references and flags inside a pattern are not supported: found (?");
      }
    }
    ExprPtr e = alternatives(false);
    if (!in_.take_if(U')')) in_.wrong("expected )");
    return e;
  }

  void name() {
    while (!in_.done() && is_word(in_.peek())) in_.take();
    if (!in_.take_if(U'>')) in_.wrong("expected > behind a group's name");
  }

  CharSet bracket() {
    in_.take();
    const bool negated = in_.take_if(U'^');
    CharSet out;
    for (bool first = true; first || in_.peek() != ']'; first = false) {
      if (in_.done()) in_.wrong("expected ]");
      if (in_.sees(U"[:") || in_.sees(U"&&") || in_.sees(U"--"))
        in_.wrong("named classes and operations on sets are not supported: found");
      const CharSet one = bracket_item();
      const bool single = one.size() == 1 && one[0].first == one[0].last;
      if (in_.peek() == '-' && in_.peek(1) != ']' && single) {
        in_.take();
        const CharSet to = bracket_item();
        if (to.size() != 1 || to[0].first != to[0].last || to[0].first < one[0].first)
          in_.wrong("a range whose end is not a character at or behind its beginning");
        out.push_back({one[0].first, to[0].first});
      } else {
        out.insert(out.end(), one.begin(), one.end());
      }
    }
    in_.take();
    if (ignore_case_) out = without_case(out);
    return negated ? complement(out) : normalized(std::move(out));
  }

  CharSet bracket_item() {
    if (in_.done()) in_.wrong("expected ]");
    if (in_.take_if(U'\\')) return escape(true);
    const char32_t c = in_.take();
    return {{c, c}};
  }

  CharSet escape(bool in_bracket) {
    if (in_.done()) in_.wrong("a \\ at the end");
    const char32_t c = in_.take();
    switch (c) {
      case 'd':
        return digits();
      case 'D':
        return complement(digits());
      case 'w':
        return words();
      case 'W':
        return complement(words());
      case 's':
        return spaces();
      case 'S':
        return complement(all_spaces());
      case 'n':
        return {{'\n', '\n'}};
      case 'r':
        return {{'\r', '\r'}};
      case 't':
        return {{'\t', '\t'}};
      case 'f':
        return {{'\f', '\f'}};
      case 'v':
        return {{'\v', '\v'}};
      case '0':
        if (in_.peek() >= '0' && in_.peek() <= '9')
          in_.wrong("octal numbers are not supported: found");
        return {{0, 0}};
      case 'x':
        return one(in_.peek() == '{' ? in_.braced_hex() : in_.hex(2));
      case 'u':
        return one(in_.peek() == '{' ? in_.braced_hex() : in_.hex(4));
      case 'U':
        return one(in_.hex(8));
      case 'b':
        if (in_bracket) return {{'\b', '\b'}};
        [[fallthrough]];
      default:
        if (is_word(c)) in_.wrong(fmt::format("\\{} is not supported: found", to_utf8(c)));
        return {{c, c}};
    }
  }

  CharSet one(char32_t c) const {
    if (c > kMaxChar || (c >= 0xD800 && c < 0xE000)) in_.wrong("not a character's number: found");
    return {{c, c}};
  }

  CharReader in_;
  bool search_, ignore_case_ = false, dot_all_ = false;
  int depth_ = 0;
};

}  // namespace

CharSet any_char() { return normalized({{0, kMaxChar}}); }

ExprPtr regex_full(std::string_view pattern, const std::string& where) {
  return Parser(pattern, where, false).parse();
}

ExprPtr regex_search(std::string_view pattern, const std::string& where) {
  return Parser(pattern, where, true).parse();
}

}  // namespace tokamak::guide
