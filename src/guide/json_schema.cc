#include "guide/json_schema.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "base/error.h"
#include "guide/json_number.h"
#include "guide/regex.h"
#include "guide/schema_disjoint.h"
#include "guide/schema_formats.h"
#include "guide/schema_merge.h"

namespace tokamak::guide {
namespace {

constexpr int kMostDepth = 200;

// Keywords and the type that they restrict.
const std::map<std::string, std::string>& keywords() {
  static const std::map<std::string, std::string> kKnown = {{"type", ""},
                                                            {"enum", ""},
                                                            {"const", ""},
                                                            {"anyOf", ""},
                                                            {"oneOf", ""},
                                                            {"allOf", ""},
                                                            {"$ref", ""},
                                                            {"properties", "object"},
                                                            {"required", "object"},
                                                            {"additionalProperties", "object"},
                                                            {"unevaluatedProperties", "object"},
                                                            {"patternProperties", "object"},
                                                            {"propertyNames", "object"},
                                                            {"minProperties", "object"},
                                                            {"maxProperties", "object"},
                                                            {"items", "array"},
                                                            {"prefixItems", "array"},
                                                            {"minItems", "array"},
                                                            {"maxItems", "array"},
                                                            {"uniqueItems", "array"},
                                                            {"minLength", "string"},
                                                            {"maxLength", "string"},
                                                            {"pattern", "string"},
                                                            {"format", "string"},
                                                            {"minimum", "number"},
                                                            {"maximum", "number"},
                                                            {"exclusiveMinimum", "number"},
                                                            {"exclusiveMaximum", "number"},
                                                            {"multipleOf", "number"}};
  return kKnown;
}

class Compiler {
 public:
  Compiler(Rules& rules, JsonText& json, const OrderedJson& root)
      : rules_(rules), json_(json), root_(root), merger_(root) {}

  ExprPtr compile(const OrderedJson& s, const std::string& where) {
    if (s == true) return json_.value();
    if (s == false) return never();
    if (!s.is_object())
      fail("{}: expected a schema (an object, true or false), found {}", where, s.dump());
    if (++depth_ > kMostDepth) fail("{}: the schema nests too deeply", where);
    const ExprPtr e = compile_object(s, where);
    --depth_;
    return e;
  }

 private:
  ExprPtr compile_object(const OrderedJson& s, const std::string& where) {
    check_keywords(s, where);
    if (s.contains("$ref") && !restricts_beside(s, "$ref")) return reference(s["$ref"], where);
    if (s.contains("$ref") || s.contains("allOf")) return compile(merger_.flat(s, where), where);
    for (const char* ways : {"anyOf", "oneOf"})
      if (s.contains(ways)) return alternatives(s, ways, where);
    if (s.contains("enum") || s.contains("const")) return values(s, where);
    std::vector<ExprPtr> ways;
    for (const std::string& type : wanted_types(s, where)) ways.push_back(of_type(s, type, where));
    return choice(std::move(ways));
  }

  static bool restricts_beside(const OrderedJson& s, const std::string& keyword) {
    for (const auto& [key, value] : s.items())
      if (key != keyword && !is_annotation(key)) return true;
    return false;
  }

  static void check_keywords(const OrderedJson& s, const std::string& where) {
    for (const auto& [key, value] : s.items()) {
      if (keywords().contains(key) || is_annotation(key)) continue;
      if (key == "nullable" && value == false) continue;
      fail("{}: the keyword '{}' is not supported", where, key);
    }
  }

  // A schema that is referred to is a rule, so that it may contain itself.
  ExprPtr reference(const OrderedJson& ref, const std::string& where) {
    if (!ref.is_string()) fail("{}/$ref: expected a string, found {}", where, ref.dump());
    const auto name = ref.get<std::string>();
    const OrderedJson& target = merger_.target(name, where);
    const auto [it, added] = references_.try_emplace(name, -1);
    if (!added) return rule(it->second);
    const int32_t id = it->second = rules_.add(name, nullptr, true);
    const ExprPtr e = compile(target, name);
    rules_.rules[static_cast<size_t>(id)].expr = e;
    return rule(id);
  }

  ExprPtr alternatives(const OrderedJson& s, const char* keyword, const std::string& where) {
    const OrderedJson& all = s[keyword];
    const std::string here = fmt::format("{}/{}", where, keyword);
    if (!all.is_array() || all.empty()) fail("{}: expected an array of schemas", here);
    OrderedJson rest = s;
    rest.erase(keyword);
    const bool alone = !restricts_beside(s, keyword);
    std::vector<ExprPtr> ways;
    OrderedJson joined = OrderedJson::array();
    for (size_t i = 0; i < all.size(); ++i) {
      const std::string branch = fmt::format("{}/{}", here, i);
      joined.push_back(
          alone ? all[i]
                : merger_.both(merger_.flat(rest, where), merger_.flat(all[i], branch), branch));
      ways.push_back(compile(joined.back(), branch));
    }
    if (std::string_view(keyword) == "oneOf") require_disjoint(joined, merger_, here);
    return choice(std::move(ways));
  }

  // What `type` says, or else the types whose keywords are there.
  static std::vector<std::string> wanted_types(const OrderedJson& s, const std::string& where) {
    if (s.contains("type")) return types_of(s, where);
    std::set<std::string> named;
    for (const auto& [key, value] : s.items())
      if (const auto it = keywords().find(key); it != keywords().end() && !it->second.empty())
        named.insert(it->second);
    if (!named.empty()) return {named.begin(), named.end()};
    return {"any"};
  }

  ExprPtr of_type(const OrderedJson& s, const std::string& type, const std::string& where) {
    if (type == "any") return json_.value();
    if (type == "object") return own_rule(where, object(s, where));
    if (type == "array") return own_rule(where, array(s, where));
    if (type == "string") return string(s, where);
    if (type == "null") return literal("null");
    if (type == "boolean") return choice({literal("true"), literal("false")});
    return number(s, type == "integer", where);
  }

  ExprPtr own_rule(const std::string& where, ExprPtr e) {
    if (is_never(*e)) return e;
    return rule(rules_.add(where, std::move(e), true));
  }

  // enum and const: those values that the other keywords leave.
  ExprPtr values(const OrderedJson& s, const std::string& where) {
    OrderedJson all = s.contains("enum") ? s["enum"] : OrderedJson::array({s["const"]});
    if (!all.is_array()) fail("{}/enum: expected an array", where);
    std::vector<ExprPtr> ways;
    for (const OrderedJson& v : all) {
      if (s.contains("const") && s["const"] != v) continue;
      if (allows(s, v, where)) ways.push_back(json_.exactly(v));
    }
    if (ways.empty()) fail("{}: no value of enum or const is allowed by its other keywords", where);
    return choice(std::move(ways));
  }

  static bool allows(const OrderedJson& s, const OrderedJson& v, const std::string& where) {
    const std::vector<std::string> types = types_of(s, where);
    const auto has = [&](const char* t) { return std::ranges::find(types, t) != types.end(); };
    const bool whole =
        v.is_number_integer() || (v.is_number() && v.get<double>() == std::floor(v.get<double>()));
    const bool typed = v.is_object()    ? has("object")
                       : v.is_array()   ? has("array")
                       : v.is_string()  ? has("string")
                       : v.is_boolean() ? has("boolean")
                       : v.is_null()    ? has("null")
                                        : has("number") || (whole && has("integer"));
    if (!typed) return false;
    for (const auto& [key, bound] : s.items()) {
      const auto it = keywords().find(key);
      if (it == keywords().end() || it->second.empty()) continue;
      const bool concerns =
          (it->second == "number" && v.is_number()) || (it->second == "string" && v.is_string()) ||
          (it->second == "object" && v.is_object()) || (it->second == "array" && v.is_array());
      if (!concerns) continue;
      if (key == "minimum" || key == "exclusiveMinimum") {
        if (v < bound || (key != "minimum" && v == bound)) return false;
      } else if (key == "maximum" || key == "exclusiveMaximum") {
        if (v > bound || (key != "maximum" && v == bound)) return false;
      } else {
        fail("{}: '{}' beside enum or const is not supported", where, key);
      }
    }
    return true;
  }

  static int64_t limit(const OrderedJson& s, const char* key, int64_t otherwise,
                       const std::string& where) {
    if (!s.contains(key)) return otherwise;
    const OrderedJson& v = s[key];
    if (!v.is_number() || v.get<double>() < 0 || v.get<double>() != std::floor(v.get<double>()) ||
        v.get<double>() > 1e6)
      fail("{}/{}: expected an integer from 0 to 1000000, found {}", where, key, v.dump());
    return static_cast<int64_t>(v.get<double>());
  }

  ExprPtr string(const OrderedJson& s, const std::string& where) {
    const int64_t min = limit(s, "minLength", 0, where),
                  max = limit(s, "maxLength", kUnbounded, where);
    if (min > max) fail("{}: minLength {} is above maxLength {}", where, min, max);
    std::vector<ExprPtr> all;
    if (s.contains("format")) {
      if (!s["format"].is_string()) fail("{}/format: expected a string", where);
      const std::string& pattern = format_pattern(s["format"].get<std::string>(), where);
      if (!pattern.empty()) all.push_back(regex_full(pattern, where + "/format"));
    }
    if (s.contains("pattern"))
      for (const OrderedJson& p :
           s["pattern"].is_array() ? s["pattern"] : OrderedJson::array({s["pattern"]})) {
        if (!p.is_string()) fail("{}/pattern: expected a string", where);
        all.push_back(regex_search(p.get<std::string>(), where + "/pattern"));
      }
    if (all.empty() && min == 0 && max == kUnbounded) return json_.string();
    if (all.empty()) return own_rule(where, json_.string_of(min, max));
    if (min > 0 || max != kUnbounded) all.push_back(repeat(chars(any_char()), min, max));
    ExprPtr e = all[0];
    for (size_t i = 1; i < all.size(); ++i) e = intersect(e, all[i]);
    return own_rule(where, json_.quoted(e));
  }

  ExprPtr number(const OrderedJson& s, bool integer, const std::string& where) {
    if (s.contains("multipleOf") && !(integer && s["multipleOf"] == 1))
      fail("{}: the keyword 'multipleOf' is not supported", where);
    NumberBounds b;
    const auto bound = [&](const char* key, std::optional<double>& to, bool& strict, bool exclusive,
                           bool lower) {
      if (!s.contains(key)) return;
      if (!s[key].is_number())
        fail("{}/{}: expected a number, found {}", where, key, s[key].dump());
      const auto v = s[key].get<double>();
      const bool tighter = !to || (lower ? v > *to : v < *to) || (v == *to && exclusive);
      if (tighter) to = v, strict = exclusive;
    };
    bound("minimum", b.least, b.above_least, false, true);
    bound("exclusiveMinimum", b.least, b.above_least, true, true);
    bound("maximum", b.most, b.below_most, false, false);
    bound("exclusiveMaximum", b.most, b.below_most, true, false);
    if (!b.least && !b.most) return integer ? json_.integer() : json_.number();
    return own_rule(where, integer ? bounded_integer(b, where) : bounded_number(b, where));
  }

  ExprPtr array(const OrderedJson& s, const std::string& where) {
    if (s.contains("uniqueItems") && s["uniqueItems"] != false)
      fail("{}: the keyword 'uniqueItems' is not supported", where);
    const int64_t min = limit(s, "minItems", 0, where);
    int64_t max = limit(s, "maxItems", kUnbounded, where);
    std::vector<ExprPtr> first;
    if (s.contains("prefixItems")) {
      if (!s["prefixItems"].is_array()) fail("{}/prefixItems: expected an array of schemas", where);
      for (const OrderedJson& p : s["prefixItems"])
        first.push_back(compile(p, fmt::format("{}/prefixItems/{}", where, first.size())));
    }
    const auto k = static_cast<int64_t>(first.size());
    if (s.contains("items") && s["items"].is_array())
      fail("{}/items: expected a schema; schemas of single items are 'prefixItems'", where);
    const bool open = s.contains("items") ? s["items"] != false : k == 0 || min > k;
    if (!open) max = std::min(max, k);
    if (min > max) fail("{}: at least {} items, but at most {} are allowed", where, min, max);
    ExprPtr tail = empty();
    if (max > k) {
      const ExprPtr item =
          s.contains("items") ? compile(s["items"], where + "/items") : json_.value();
      if (is_never(*item) && min <= k) {
        max = k;
      } else if (k == 0) {
        const ExprPtr others =
            repeat(sequence({json_.comma(), item}), std::max<int64_t>(0, min - 1),
                   max == kUnbounded ? max : max - 1);
        return json_.brackets(repeat(sequence({item, others}), min > 0, 1));
      } else {
        tail = repeat(sequence({json_.comma(), item}), std::max<int64_t>(0, min - k),
                      max == kUnbounded ? max : max - k);
      }
    }
    for (int64_t i = std::min(k, max); i-- > 0;) {
      ExprPtr here =
          sequence({i > 0 ? json_.comma() : empty(), first[static_cast<size_t>(i)], tail});
      tail = repeat(std::move(here), i < min, 1);
    }
    return json_.brackets(tail);
  }

  // Keys in plain characters: any but those that are named.
  static ExprPtr text_of(const std::string& key) { return literal(key); }

  ExprPtr object(const OrderedJson& s, const std::string& where) {
    OrderedJson none = OrderedJson::object();
    const OrderedJson& properties = s.contains("properties") ? s["properties"] : none;
    if (!properties.is_object()) fail("{}/properties: expected an object", where);
    std::vector<std::string> required;
    if (s.contains("required")) {
      if (!s["required"].is_array()) fail("{}/required: expected an array of names", where);
      for (const OrderedJson& name : s["required"]) {
        if (!name.is_string()) fail("{}/required: expected names, found {}", where, name.dump());
        if (std::ranges::find(required, name.get<std::string>()) == required.end())
          required.push_back(name);
      }
    }
    Expr list{.kind = Expr::Kind::list};
    std::vector<ExprPtr> names;
    const auto add = [&](const std::string& name, const ExprPtr& value) {
      const bool must = std::ranges::find(required, name) != required.end();
      names.push_back(text_of(name));
      if (is_never(*value)) {
        if (must)
          fail("{}: the property '{}' is required but nothing is allowed for it", where, name);
        return;
      }
      list.parts.push_back(json_.pair(literal(OrderedJson(name).dump()), value));
      list.required.push_back(must);
    };
    if (s.contains("propertyNames") && !properties.empty())
      fail("{}: 'propertyNames' beside 'properties' is not supported", where);
    for (const auto& [name, schema] : properties.items()) {
      if (matches_pattern_properties(s))
        fail("{}: 'properties' beside 'patternProperties' is not supported", where);
      add(name, compile(schema, fmt::format("{}/properties/{}", where, name)));
    }
    for (const std::string& name : required)  // required, but of any kind
      if (!properties.contains(name)) {
        if (matches_pattern_properties(s) || s.contains("propertyNames"))
          fail("{}/required: '{}' is not among the properties", where, name);
        add(name, unnamed(s, where));
      }
    list.more = more(s, names, where);
    list.separator = json_.comma();
    return counted(s, std::move(list), where);
  }

  static bool matches_pattern_properties(const OrderedJson& s) {
    return s.contains("patternProperties") && !s["patternProperties"].empty();
  }

  // The schema of properties without a name of their own.
  ExprPtr unnamed(const OrderedJson& s, const std::string& where) {
    for (const char* key : {"additionalProperties", "unevaluatedProperties"})
      if (s.contains(key)) return compile(s[key], fmt::format("{}/{}", where, key));
    return json_.value();
  }

  // Pairs whose names the schema does not list; none: there may be no such.
  ExprPtr more(const OrderedJson& s, const std::vector<ExprPtr>& names, const std::string& where) {
    const bool said = s.contains("additionalProperties") || s.contains("unevaluatedProperties");
    const bool patterns = matches_pattern_properties(s);
    ExprPtr key = repeat(chars(any_char()), 0, kUnbounded);
    if (s.contains("propertyNames")) key = names_of(s["propertyNames"], where + "/propertyNames");
    std::vector<ExprPtr> pairs, seen;
    if (patterns) {
      if (!s["patternProperties"].is_object())
        fail("{}/patternProperties: expected an object", where);
      for (const auto& [pattern, schema] : s["patternProperties"].items())
        seen.push_back(regex_search(pattern, where + "/patternProperties"));
      size_t i = 0;
      for (const auto& [pattern, schema] : s["patternProperties"].items()) {
        std::vector<ExprPtr> others = seen;
        const ExprPtr mine = seen[i];
        others.erase(others.begin() + static_cast<std::ptrdiff_t>(i++));
        const ExprPtr value =
            compile(schema, fmt::format("{}/patternProperties/{}", where, pattern));
        if (is_never(*value)) continue;
        ExprPtr k = intersect(key, mine);
        if (!others.empty()) k = minus(k, choice(others));  // both schemas would have to hold
        pairs.push_back(json_.pair(json_.quoted(k), value));
      }
    }
    if (said || (names.empty() && !patterns)) {
      const ExprPtr value = unnamed(s, where);
      if (!is_never(*value)) {
        if (names.empty() && !patterns && !s.contains("propertyNames")) {
          pairs.push_back(json_.pair(json_.string(), value));
        } else {
          std::vector<ExprPtr> taken = names;
          taken.insert(taken.end(), seen.begin(), seen.end());
          if (!taken.empty()) key = minus(key, choice(taken));
          pairs.push_back(json_.pair(json_.quoted(key), value));
        }
      }
    }
    if (pairs.empty()) return nullptr;
    return own_rule(where, choice(std::move(pairs)));
  }

  // The names that a schema of strings allows.
  static ExprPtr names_of(const OrderedJson& s, const std::string& where) {
    ExprPtr e = repeat(chars(any_char()), 0, kUnbounded);
    if (s == true) return e;
    if (!s.is_object()) fail("{}: expected a schema", where);
    for (const auto& [key, value] : s.items()) {
      if (key == "pattern")
        e = intersect(e, regex_search(value.get<std::string>(), where + "/pattern"));
      else if (key == "minLength" || key == "maxLength")
        e = intersect(e, repeat(chars(any_char()), limit(s, "minLength", 0, where),
                                limit(s, "maxLength", kUnbounded, where)));
      else if (key == "enum") {
        std::vector<ExprPtr> ways;
        for (const OrderedJson& name : value) ways.push_back(text_of(name.get<std::string>()));
        e = intersect(e, choice(std::move(ways)));
      } else if (key != "type" || value != "string") {
        if (!is_annotation(key)) fail("{}: the keyword '{}' is not supported", where, key);
      }
    }
    return e;
  }

  // minProperties and maxProperties: where they say nothing new, or nothing is named.
  ExprPtr counted(const OrderedJson& s, Expr list, const std::string& where) {
    const int64_t min = limit(s, "minProperties", 0, where);
    const int64_t max = limit(s, "maxProperties", kUnbounded, where);
    const auto named = static_cast<int64_t>(list.parts.size());
    const int64_t required = std::ranges::count(list.required, true);
    if (named == 0 && list.more) {
      if (max == 0) return json_.braces(empty());
      const ExprPtr others =
          repeat(sequence({list.separator, list.more}), std::max<int64_t>(0, min - 1),
                 max == kUnbounded ? max : max - 1);
      return json_.braces(repeat(sequence({list.more, others}), min > 0, 1));
    }
    if (max < kUnbounded && list.more && max >= named) list.more = nullptr;
    if (min > required || (max < named || (max < kUnbounded && list.more)))
      fail(
          "{}: 'minProperties' and 'maxProperties' that go beyond the required properties are not "
          "supported",
          where);
    return json_.braces(std::make_shared<const Expr>(std::move(list)));
  }

  Rules& rules_;
  JsonText& json_;
  const OrderedJson& root_;
  SchemaMerger merger_;
  std::map<std::string, int32_t> references_;
  int depth_ = 0;
};

}  // namespace

ExprPtr json_schema(Rules& rules, JsonText& json, const OrderedJson& schema) {
  try {
    return Compiler(rules, json, schema).compile(schema, "schema");
  } catch (const nlohmann::json::exception& e) {
    fail("schema: a keyword's value is of the wrong type: {}", e.what());
  }
}

}  // namespace tokamak::guide
