#include "guide/mini_schema.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <regex>

#include "text/unicode.h"

namespace tokamak::testing {
namespace {

bool has_type(const std::string& t, const OrderedJson& v) {
  if (t == "integer") return v.is_number() && v.get<double>() == std::floor(v.get<double>());
  if (t == "number") return v.is_number();
  return t == v.type_name();
}

bool found(const std::string& pattern, const std::string& text) {
  return std::regex_search(text, std::regex(pattern, std::regex::ECMAScript));
}

}  // namespace

std::string violation(const OrderedJson& s, const OrderedJson& v, const OrderedJson& root) {
  if (s.is_boolean()) return s.get<bool>() ? "" : "false";
  const auto bad = [&](const std::string& what) { return what + ": " + v.dump(); };
  if (s.contains("$ref")) {
    const auto ref = s["$ref"].get<std::string>();
    const OrderedJson& target =
        ref == "#" ? root : root.at(OrderedJson::json_pointer(ref.substr(1)));
    if (auto e = violation(target, v, root); !e.empty()) return e;
  }
  if (s.contains("type")) {
    bool any = false;
    for (const OrderedJson& t : s["type"].is_array() ? s["type"] : OrderedJson::array({s["type"]}))
      any = any || has_type(t, v);
    if (!any) return bad("type");
  }
  if (s.contains("const") && s["const"] != v) return bad("const");
  if (s.contains("enum") && std::find(s["enum"].begin(), s["enum"].end(), v) == s["enum"].end())
    return bad("enum");
  if (s.contains("allOf"))
    for (const OrderedJson& p : s["allOf"])
      if (auto e = violation(p, v, root); !e.empty()) return e;
  for (const char* ways : {"anyOf", "oneOf"}) {
    if (!s.contains(ways)) continue;
    int held = 0;
    for (const OrderedJson& p : s[ways]) held += violation(p, v, root).empty();
    if (held == 0 || (std::string(ways) == "oneOf" && held > 1)) return bad(ways);
  }
  if (v.is_number()) {
    const auto d = v.get<double>();
    if (s.contains("minimum") && d < s["minimum"].get<double>()) return bad("minimum");
    if (s.contains("maximum") && d > s["maximum"].get<double>()) return bad("maximum");
    if (s.contains("exclusiveMinimum") && d <= s["exclusiveMinimum"].get<double>())
      return bad("exclusiveMinimum");
    if (s.contains("exclusiveMaximum") && d >= s["exclusiveMaximum"].get<double>())
      return bad("exclusiveMaximum");
  }
  if (v.is_string()) {
    const auto t = v.get<std::string>();
    const size_t n = unicode::count(t);
    if (s.contains("minLength") && n < s["minLength"].get<size_t>()) return bad("minLength");
    if (s.contains("maxLength") && n > s["maxLength"].get<size_t>()) return bad("maxLength");
    if (s.contains("pattern") && !found(s["pattern"], t)) return bad("pattern");
  }
  if (v.is_array()) {
    if (s.contains("minItems") && v.size() < s["minItems"].get<size_t>()) return bad("minItems");
    if (s.contains("maxItems") && v.size() > s["maxItems"].get<size_t>()) return bad("maxItems");
    const size_t k = s.contains("prefixItems") ? s["prefixItems"].size() : 0;
    for (size_t i = 0; i < v.size(); ++i) {
      if (i >= k && !s.contains("items")) break;
      if (auto e = violation(i < k ? s["prefixItems"][i] : s["items"], v[i], root); !e.empty())
        return e;
    }
  }
  if (!v.is_object()) return "";
  if (s.contains("required"))
    for (const OrderedJson& name : s["required"])
      if (!v.contains(name.get<std::string>())) return bad("required");
  if (s.contains("minProperties") && v.size() < s["minProperties"].get<size_t>())
    return bad("minProperties");
  if (s.contains("maxProperties") && v.size() > s["maxProperties"].get<size_t>())
    return bad("maxProperties");
  for (const auto& [name, value] : v.items()) {
    bool said = false;
    if (s.contains("propertyNames"))
      if (auto e = violation(s["propertyNames"], OrderedJson(name), root); !e.empty()) return e;
    if (s.contains("properties") && s["properties"].contains(name)) {
      said = true;
      if (auto e = violation(s["properties"][name], value, root); !e.empty()) return e;
    }
    if (s.contains("patternProperties"))
      for (const auto& [pattern, schema] : s["patternProperties"].items()) {
        if (!found(pattern, name)) continue;
        said = true;
        if (auto e = violation(schema, value, root); !e.empty()) return e;
      }
    if (!said && s.contains("additionalProperties"))
      if (auto e = violation(s["additionalProperties"], value, root); !e.empty()) return e;
  }
  return "";
}

}  // namespace tokamak::testing
