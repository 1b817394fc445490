#include "guide/spec.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json.h"
#include "guide/char_reader.h"
#include "guide/ebnf.h"
#include "guide/json_schema.h"
#include "guide/regex.h"
#include "guide/structural_tag.h"

namespace tokamak::guide {
namespace {

ExprPtr one_of(const GuideSpec& spec) {
  if (spec.choices.empty()) fail("guided choice: there is nothing to choose from");
  std::vector<ExprPtr> ways;
  for (const std::string& c : spec.choices) {
    from_utf8(c, "guided choice");
    if (c.empty()) fail("guided choice: a choice is empty");
    ways.push_back(literal(c));
  }
  return choice(std::move(ways));
}

ExprPtr calls_of(const GuideSpec& spec, Rules& rules, JsonText& json) {
  if (spec.calls.empty()) fail("guided calls: there is nothing to call");
  std::vector<ExprPtr> ways;
  for (const GuideSpec::Call& c : spec.calls) {
    const OrderedJson schema = parse_ordered_json(c.arguments, "parameters of a tool");
    ways.push_back(sequence({literal(c.begin), json_schema(rules, json, schema), literal(c.end)}));
  }
  const ExprPtr one = choice(std::move(ways));
  const ExprPtr others = repeat(sequence({literal(spec.separator), one}), 0, spec.max_calls - 1);
  return sequence({literal(spec.begin), one, others, literal(spec.end)});
}

}  // namespace

Rules rules_of(const GuideSpec& spec) {
  if (spec.kind == GuideSpec::Kind::grammar) return parse_ebnf(spec.text);
  Rules rules;
  rules.root = rules.add("root", nullptr, true);
  JsonText json(rules, spec.compact);
  ExprPtr e;
  switch (spec.kind) {
    case GuideSpec::Kind::json_object:
      e = json.object();
      break;
    case GuideSpec::Kind::json_schema:
      e = json_schema(rules, json, parse_ordered_json(spec.text, "schema"));
      break;
    case GuideSpec::Kind::regex:
      e = regex_full(spec.text, "guided regex");
      break;
    case GuideSpec::Kind::choice:
      e = one_of(spec);
      break;
    case GuideSpec::Kind::calls:
      e = calls_of(spec, rules, json);
      break;
    case GuideSpec::Kind::structural_tag:
      e = structural_tag(rules, json, parse_ordered_json(spec.text, "structural_tag"));
      break;
    case GuideSpec::Kind::grammar:
      break;
  }
  rules.rules[static_cast<size_t>(rules.root)].expr = e;
  return rules;
}

}  // namespace tokamak::guide
