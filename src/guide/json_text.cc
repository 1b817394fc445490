#include "guide/json_text.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "guide/json_number.h"

namespace tokamak::guide {
namespace {

// Characters that stand for themselves.
CharSet plain_chars() { return normalized({{0x20, 0x21}, {0x23, 0x5B}, {0x5D, kMaxChar}}); }

ExprPtr hex_digit(std::u32string_view ranges) {
  CharSet set;
  for (size_t i = 0; i < ranges.size(); i += 2) set.push_back({ranges[i], ranges[i + 1]});
  return chars(std::move(set));
}

// One character in any spelling; surrogates in pairs alone.
ExprPtr any_spelling() {
  const ExprPtr any = hex_digit(U"09afAF"), d = hex_digit(U"ddDD");
  const ExprPtr unit = choice({sequence({hex_digit(U"09aceeACEEffFF"), any, any, any}),
                               sequence({d, hex_digit(U"07"), any, any})});
  const ExprPtr pair = sequence(
      {d, hex_digit(U"89abAB"), any, any, literal("\\u"), d, hex_digit(U"cfCF"), any, any});
  const ExprPtr escape = choice({chars({{'"', '"'},
                                        {'\\', '\\'},
                                        {'/', '/'},
                                        {'b', 'b'},
                                        {'f', 'f'},
                                        {'n', 'n'},
                                        {'r', 'r'},
                                        {'t', 't'}}),
                                 sequence({literal("u"), choice({unit, pair})})});
  return choice({chars(plain_chars()), sequence({literal("\\"), escape})});
}

std::string spelled(char32_t c) {
  switch (c) {
    case '"':
      return "\\\"";
    case '\\':
      return "\\\\";
    case '\b':
      return "\\b";
    case '\f':
      return "\\f";
    case '\n':
      return "\\n";
    case '\r':
      return "\\r";
    case '\t':
      return "\\t";
    default:
      return fmt::format("\\u{:04x}", static_cast<unsigned>(c));
  }
}

ExprPtr spelled(const CharSet& set) {
  std::vector<ExprPtr> ways = {chars(intersection(set, plain_chars()))};
  for (const CharRange& r : intersection(set, complement(plain_chars())))
    for (char32_t c = r.first; c <= r.last; ++c) ways.push_back(literal(spelled(c)));
  return choice(std::move(ways));
}

}  // namespace

JsonText::JsonText(Rules& rules, bool compact) : rules_(rules) {
  const CharSet blank = {{' ', ' '}, {'\t', '\t'}};
  space_ =
      compact
          ? empty()
          : choice({empty(), literal(" "), sequence({literal("\n"), repeat(chars(blank), 0, 20)})});
  comma_ = sequence({literal(","), space_});
}

ExprPtr JsonText::shared(int32_t& id, const char* name, ExprPtr (JsonText::*make)()) {
  if (id < 0) {
    id = rules_.add(name, nullptr, true);
    const ExprPtr e = (this->*make)();
    rules_.rules[static_cast<size_t>(id)].expr = e;
  }
  return rule(id);
}

ExprPtr JsonText::string() { return shared(string_, "string", &JsonText::make_string); }
ExprPtr JsonText::number() { return shared(number_, "number", &JsonText::make_number); }
ExprPtr JsonText::integer() { return shared(integer_, "integer", &JsonText::make_integer); }
ExprPtr JsonText::value() { return shared(value_, "value", &JsonText::make_value); }
ExprPtr JsonText::object() { return shared(object_, "object", &JsonText::make_object); }
ExprPtr JsonText::array() { return shared(array_, "array", &JsonText::make_array); }

ExprPtr JsonText::make_string() { return string_of(0, kUnbounded); }
ExprPtr JsonText::make_number() { return any_number(); }
ExprPtr JsonText::make_integer() { return any_integer(); }

ExprPtr JsonText::string_of(int64_t min, int64_t max) {
  return sequence({literal("\""), repeat(any_spelling(), min, max), literal("\"")});
}

ExprPtr JsonText::make_value() {
  return choice(
      {object(), array(), string(), number(), literal("true"), literal("false"), literal("null")});
}

ExprPtr JsonText::make_object() {
  const ExprPtr one = pair(string(), value());
  return braces(repeat(sequence({one, repeat(sequence({comma_, one}), 0, kUnbounded)}), 0, 1));
}

ExprPtr JsonText::make_array() {
  const ExprPtr one = value();
  return brackets(repeat(sequence({one, repeat(sequence({comma_, one}), 0, kUnbounded)}), 0, 1));
}

ExprPtr JsonText::pair(ExprPtr key, ExprPtr value) const {
  return sequence({std::move(key), literal(":"), space_, std::move(value)});
}

ExprPtr JsonText::braces(ExprPtr pairs) const {
  return sequence({literal("{"), space_, std::move(pairs), space_, literal("}")});
}

ExprPtr JsonText::brackets(ExprPtr items) const {
  return sequence({literal("["), space_, std::move(items), space_, literal("]")});
}

ExprPtr JsonText::quoted(const ExprPtr& content) {
  return sequence({literal("\""), escaped(content), literal("\"")});
}

ExprPtr JsonText::escaped(const ExprPtr& e) {
  const auto it = escaped_.find(e.get());
  if (it != escaped_.end()) return it->second;
  ExprPtr out;
  if (e->kind == Expr::Kind::chars) {
    out = spelled(e->set);
  } else if (e->kind == Expr::Kind::literal) {
    const std::string text = OrderedJson(e->text).dump();
    out = literal(std::string_view(text).substr(1, text.size() - 2));
  } else {
    Expr copy = *e;
    for (ExprPtr& p : copy.parts) p = escaped(p);
    out = std::make_shared<const Expr>(std::move(copy));
  }
  keep_.push_back(e);
  escaped_.emplace(e.get(), out);
  return out;
}

ExprPtr JsonText::exactly(const OrderedJson& v) {
  if (!v.is_structured()) return literal(v.dump());
  std::vector<ExprPtr> parts;
  const auto add = [&](ExprPtr e) {
    if (!parts.empty()) parts.push_back(comma_);
    parts.push_back(std::move(e));
  };
  if (v.is_array()) {
    for (const OrderedJson& item : v) add(exactly(item));
    return brackets(sequence(std::move(parts)));
  }
  for (const auto& [key, value] : v.items())
    add(pair(literal(OrderedJson(key).dump()), exactly(value)));
  return braces(sequence(std::move(parts)));
}

}  // namespace tokamak::guide
