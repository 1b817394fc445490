#include "guide/schema_disjoint.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"

namespace tokamak::guide {
namespace {

constexpr int kMostDepth = 8;  // of properties in properties that are looked at

std::optional<OrderedJson> values_of(const OrderedJson& s) {
  if (s.contains("const")) return OrderedJson::array({s["const"]});
  if (s.contains("enum")) return s["enum"];
  return std::nullopt;
}

std::vector<std::string> possible_types(const OrderedJson& s, const std::string& where) {
  if (const auto values = values_of(s)) {
    std::vector<std::string> out;
    for (const OrderedJson& v : *values) out.emplace_back(v.is_number() ? "number" : v.type_name());
    return out;
  }
  std::vector<std::string> out = types_of(s, where);
  for (std::string& t : out)
    if (t == "integer") t = "number";
  return out;
}

class Disjoint {
 public:
  Disjoint(const SchemaMerger& merger, const std::string& where) : merger_(merger), where_(where) {}

  bool operator()(const OrderedJson& x, const OrderedJson& y, int depth = 0) const {
    if (depth > kMostDepth) return false;
    const OrderedJson a = merger_.flat(x, where_), b = merger_.flat(y, where_);
    if (!a.is_object() || !b.is_object()) return a == false || b == false;
    for (const char* ways : {"anyOf", "oneOf"}) {
      if (a.contains(ways)) return all(a[ways], b, depth);
      if (b.contains(ways)) return all(b[ways], a, depth);
    }
    if (const auto p = values_of(a), q = values_of(b); p && q)
      return std::ranges::none_of(
          *p, [&](const OrderedJson& v) { return std::ranges::find(*q, v) != q->end(); });
    const std::vector<std::string> mine = possible_types(a, where_),
                                   theirs = possible_types(b, where_);
    bool objects = false, others = false;
    for (const std::string& t : mine)
      if (std::ranges::find(theirs, t) != theirs.end()) (t == "object" ? objects : others) = true;
    return !others && (!objects || (objects_differ(a, b, depth) && objects_differ(b, a, depth)));
  }

 private:
  bool all(const OrderedJson& ways, const OrderedJson& other, int depth) const {
    return std::ranges::all_of(ways,
                               [&](const OrderedJson& w) { return (*this)(w, other, depth + 1); });
  }

  static bool requires_it(const OrderedJson& s, const std::string& name) {
    return s.contains("required") &&
           std::ranges::find(s["required"], OrderedJson(name)) != s["required"].end();
  }
  // Objects that the grammar of `s` makes have no properties but those that it names.
  static bool closed_when_made(const OrderedJson& s) {
    return s.contains("properties") && !s.contains("patternProperties") &&
           (!s.contains("additionalProperties") || s["additionalProperties"] == false);
  }

  // No object that the grammar of `a` makes is one of b's.
  bool objects_differ(const OrderedJson& a, const OrderedJson& b, int depth) const {
    static const OrderedJson kNone = OrderedJson::object();
    const OrderedJson& in_a = a.contains("properties") ? a["properties"] : kNone;
    const OrderedJson& in_b = b.contains("properties") ? b["properties"] : kNone;
    const bool b_closed = b.contains("additionalProperties") &&
                          b["additionalProperties"] == false && !b.contains("patternProperties");
    for (const auto& [name, schema] : in_a.items()) {
      const bool must = requires_it(a, name);
      if (in_b.contains(name)) {
        if ((must || requires_it(b, name)) && (*this)(schema, in_b[name], depth + 1)) return true;
      } else if (must && b_closed) {
        return true;
      }
    }
    if (!b.contains("required")) return false;
    return std::ranges::any_of(b["required"], [&](const OrderedJson& name) {
      return closed_when_made(a) && !in_a.contains(name.get<std::string>()) &&
             !requires_it(a, name.get<std::string>());
    });
  }

  const SchemaMerger& merger_;
  const std::string& where_;
};

}  // namespace

void require_disjoint(const OrderedJson& schemas, const SchemaMerger& merger,
                      const std::string& where) {
  const Disjoint disjoint(merger, where);
  for (size_t i = 0; i < schemas.size(); ++i)
    for (size_t k = 0; k < i; ++k)
      if (!disjoint(schemas[k], schemas[i]))
        fail(
            "{}: one value may satisfy both {} and {}: let them differ in type, const or a "
            "required property, or "
            "use anyOf",
            where, k, i);
}

}  // namespace tokamak::guide
