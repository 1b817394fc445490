#include "guide/ebnf.h"

#include <map>

#include "guide/char_reader.h"
#include "guide/regex.h"

namespace tokamak::guide {
namespace {

constexpr int kMostNesting = 200;
constexpr size_t kMostRules = 20'000;

class Parser {
 public:
  explicit Parser(std::string_view text) : in_(text, "grammar") {}

  Rules parse() {
    skip();
    if (in_.done()) fail("grammar: it is empty; expected rules such as root ::= \"yes\" | \"no\"");
    while (!in_.done()) {
      const std::string name = rule_name();
      skip();
      if (!in_.take_if(std::u32string_view(U"::="))) in_.wrong("expected ::= behind a rule's name");
      const auto id = static_cast<size_t>(id_of(name));
      if (out_.rules[id].expr) fail("grammar: rule '{}' is defined twice", name);
      const ExprPtr expr = alternatives();
      out_.rules[id].expr = expr;
      if (!in_.done() && !at_rule()) in_.wrong("expected a rule, found");
    }
    for (const Rule& r : out_.rules)
      if (!r.expr) fail("grammar: rule '{}' is used but not defined", r.name);
    const auto root = ids_.find("root");
    if (root == ids_.end()) fail("grammar: there is no rule 'root', where texts begin");
    out_.root = root->second;
    return std::move(out_);
  }

 private:
  // White space, line ends and comments.
  void skip() {
    while (!in_.done()) {
      const char32_t c = in_.peek();
      if (c == '#') {
        while (!in_.done() && in_.peek() != '\n') in_.take();
      } else if (c == ' ' || c == '\t' || c == '\n' || c == '\r') {
        in_.take();
      } else {
        return;
      }
    }
  }

  static bool in_name(char32_t c) { return is_word(c) || c == '-' || c == '.'; }
  static bool begins_name(char32_t c) { return is_word(c); }

  std::string rule_name() {
    if (!begins_name(in_.peek())) in_.wrong("expected a rule's name");
    std::string name;
    while (!in_.done() && in_name(in_.peek())) name += to_utf8(in_.take());
    return name;
  }

  bool at_rule() {
    const size_t before = in_.position();
    bool found = false;
    if (begins_name(in_.peek())) {
      rule_name();
      skip();
      found = in_.sees(U"::=");
    }
    in_.go_to(before);
    return found;
  }

  int32_t id_of(const std::string& name) {
    const auto [it, added] = ids_.try_emplace(name, -1);
    if (added) {
      if (out_.rules.size() >= kMostRules) in_.wrong("too many rules");
      it->second = out_.add(name);
    }
    return it->second;
  }

  ExprPtr alternatives() {
    if (++depth_ > kMostNesting) in_.wrong("groups nest too deeply");
    std::vector<ExprPtr> parts;
    do {
      parts.push_back(alternative());
    } while (in_.take_if(U'|'));
    --depth_;
    return choice(std::move(parts));
  }

  ExprPtr alternative() {
    std::vector<ExprPtr> parts;
    for (skip(); !in_.done() && in_.peek() != '|' && in_.peek() != ')' && !at_rule(); skip())
      parts.push_back(repeated());
    return sequence(std::move(parts));
  }

  ExprPtr repeated() {
    ExprPtr e = atom();
    while (true) {
      if (in_.take_if(U'*')) {
        e = repeat(std::move(e), 0, kUnbounded);
      } else if (in_.take_if(U'+')) {
        e = repeat(std::move(e), 1, kUnbounded);
      } else if (in_.take_if(U'?')) {
        e = repeat(std::move(e), 0, 1);
      } else if (in_.take_if(U'{')) {
        e = counted(std::move(e));
      } else {
        return e;
      }
    }
  }

  ExprPtr counted(ExprPtr e) {
    const int64_t min = in_.peek() == ',' ? 0 : in_.number();
    int64_t max = min;
    if (in_.take_if(U',')) max = in_.peek() == '}' ? kUnbounded : in_.number();
    if (!in_.take_if(U'}')) in_.wrong("expected }");
    if (max < min) in_.wrong("a repetition whose maximum is below its minimum");
    return repeat(std::move(e), min, max);
  }

  ExprPtr atom() {
    const char32_t c = in_.peek();
    if (c == '"') return text();
    if (c == '[') return set();
    if (in_.take_if(U'.')) return chars(any_char());
    if (in_.take_if(U'(')) {
      if (in_.peek() == '?' || in_.peek() == '=') in_.wrong("look-ahead is not supported: found");
      ExprPtr e = alternatives();
      skip();
      if (!in_.take_if(U')')) in_.wrong("expected )");
      return e;
    }
    if (begins_name(c)) return rule(id_of(rule_name()));
    in_.wrong(
        fmt::format("expected a literal, a set, a group or a rule's name, found '{}'", to_utf8(c)));
  }

  ExprPtr text() {
    in_.take();
    std::string out;
    while (in_.peek() != '"') {
      if (in_.done() || in_.peek() == '\n') in_.wrong("expected \" at the end of a literal");
      out += to_utf8(character());
    }
    in_.take();
    return literal(out);
  }

  ExprPtr set() {
    in_.take();
    const bool negated = in_.take_if(U'^');
    CharSet out;
    while (in_.peek() != ']') {
      if (in_.done()) in_.wrong("expected ]");
      const char32_t first = character();
      char32_t last = first;
      if (in_.peek() == '-' && in_.peek(1) != ']') {
        in_.take();
        last = character();
        if (last < first) in_.wrong("a range whose end is before its beginning");
      }
      out.push_back({first, last});
    }
    in_.take();
    return chars(negated ? complement(out) : out);
  }

  char32_t character() {
    if (in_.done()) in_.wrong("the grammar ends in the middle of a literal or set");
    const char32_t c = in_.take();
    if (c != '\\') return c;
    if (in_.done()) in_.wrong("a \\ at the end");
    const char32_t e = in_.take();
    char32_t code = e;
    switch (e) {
      case 'n':
        return '\n';
      case 'r':
        return '\r';
      case 't':
        return '\t';
      case 'f':
        return '\f';
      case 'v':
        return '\v';
      case 'b':
        return '\b';
      case '0':
        return 0;
      case 'x':
        code = in_.hex(2);
        break;
      case 'u':
        code = in_.peek() == '{' ? in_.braced_hex() : in_.hex(4);
        break;
      case 'U':
        code = in_.hex(8);
        break;
      default:
        if (is_word(e)) in_.wrong(fmt::format("\\{} is no escape: found", to_utf8(e)));
    }
    if (code > kMaxChar || (code >= 0xD800 && code < 0xE000)) in_.wrong("not a character's number");
    return code;
  }

  CharReader in_;
  Rules out_;
  std::map<std::string, int32_t> ids_;
  int depth_ = 0;
};

}  // namespace

Rules parse_ebnf(std::string_view text) { return Parser(text).parse(); }

}  // namespace tokamak::guide
