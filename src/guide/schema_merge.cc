#include "guide/schema_merge.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"

namespace tokamak::guide {
namespace {

constexpr int kMostDepth = 64;
constexpr std::array kTypes = {"object", "array", "string", "number", "integer", "boolean", "null"};

std::string unescaped(std::string_view part) {
  std::string out;
  for (size_t i = 0; i < part.size(); ++i) {
    if (part[i] == '~' && i + 1 < part.size() && (part[i + 1] == '0' || part[i + 1] == '1')) {
      out += part[++i] == '0' ? '~' : '/';
    } else if (part[i] == '%' && i + 2 < part.size() &&
               std::isxdigit(static_cast<unsigned char>(part[i + 1])) &&
               std::isxdigit(static_cast<unsigned char>(part[i + 2]))) {
      out += static_cast<char>(std::stoi(std::string(part.substr(i + 1, 2)), nullptr, 16));
      i += 2;
    } else {
      out += part[i];
    }
  }
  return out;
}

OrderedJson all_of(const OrderedJson& a, const OrderedJson& b) {
  if (a == b || b == true) return a;
  if (a == true) return b;
  return {{"allOf", OrderedJson::array({a, b})}};
}

OrderedJson join_types(const OrderedJson& a, const OrderedJson& b, const std::string& where) {
  OrderedJson out = OrderedJson::array();
  for (const std::string& x : types_of({{"type", a}}, where))
    for (const std::string& y : types_of({{"type", b}}, where)) {
      if (x == y || (x == "integer" && y == "number")) out.push_back(x);
      if (x == "number" && y == "integer") out.push_back(y);
    }
  return out;
}

OrderedJson common(const OrderedJson& a, const OrderedJson& b) {
  OrderedJson out = OrderedJson::array();
  for (const OrderedJson& x : a)
    if (std::ranges::find(b, x) != b.end()) out.push_back(x);
  return out;
}

}  // namespace

bool is_annotation(const std::string& k) {
  static const std::set<std::string> kKnown = {"title",
                                               "description",
                                               "default",
                                               "examples",
                                               "example",
                                               "$schema",
                                               "$id",
                                               "id",
                                               "$comment",
                                               "$defs",
                                               "definitions",
                                               "deprecated",
                                               "readOnly",
                                               "writeOnly",
                                               "contentMediaType",
                                               "$anchor",
                                               "discriminator",
                                               "contentEncoding",
                                               "strict",
                                               "propertyOrdering",
                                               "enumNames",
                                               "$vocabulary",
                                               "enumDescriptions",
                                               "errorMessage"};
  return kKnown.contains(k) || k.starts_with("x-");
}

std::vector<std::string> types_of(const OrderedJson& schema, const std::string& where) {
  std::vector<std::string> out;
  const auto take = [&](const OrderedJson& t) {
    if (!t.is_string() || std::ranges::find(kTypes, t.get<std::string>()) == kTypes.end())
      fail("{}/type: expected a type of JSON or an array of them, found {}", where, t.dump());
    out.push_back(t.get<std::string>());
  };
  const auto it = schema.find("type");
  if (it == schema.end())
    out = {"object", "array", "string", "number", "boolean", "null"};
  else if (it->is_array())
    for (const OrderedJson& t : *it) take(t);
  else
    take(*it);
  return out;
}

const OrderedJson& SchemaMerger::target(const std::string& reference,
                                        const std::string& where) const {
  if (reference != "#" && !reference.starts_with("#/"))
    fail("{}/$ref: '{}' is not supported: references stay in the schema and begin with #/", where,
         reference);
  const OrderedJson* at = &root_;
  for (size_t i = 1; i < reference.size();) {
    const size_t end = std::min(reference.find('/', i + 1), reference.size());
    const std::string part = unescaped(std::string_view(reference).substr(i + 1, end - i - 1));
    const OrderedJson* next = nullptr;
    if (at->is_object() && at->contains(part)) next = &at->at(part);
    if (at->is_array() && !part.empty() && part.size() < 9 &&
        std::ranges::all_of(part, [](char c) { return c >= '0' && c <= '9'; }) &&
        std::stoul(part) < at->size())
      next = &at->at(std::stoul(part));
    if (!next) fail("{}/$ref: '{}' leads nowhere: there is no '{}'", where, reference, part);
    at = next;
    i = end;
  }
  return *at;
}

OrderedJson SchemaMerger::flat(const OrderedJson& schema, const std::string& where,
                               int depth) const {
  if (depth > kMostDepth) fail("{}: $ref and allOf lead back to themselves", where);
  if (!schema.is_object() || (!schema.contains("$ref") && !schema.contains("allOf"))) return schema;
  OrderedJson out = schema;
  out.erase("$ref");
  out.erase("allOf");
  if (schema.contains("$ref")) {
    if (!schema["$ref"].is_string()) fail("{}/$ref: expected a string", where);
    out =
        both(flat(target(schema["$ref"].get<std::string>(), where), where, depth + 1), out, where);
  }
  if (schema.contains("allOf")) {
    const OrderedJson& all = schema["allOf"];
    if (!all.is_array()) fail("{}/allOf: expected an array of schemas", where);
    for (size_t i = 0; i < all.size(); ++i)
      out = both(out, flat(all[i], fmt::format("{}/allOf/{}", where, i), depth + 1), where);
  }
  return flat(out, where, depth + 1);
}

// What one side's additionalProperties says about the other's properties holds too.
OrderedJson SchemaMerger::join_properties(const OrderedJson& a, const OrderedJson& b) const {
  OrderedJson out = OrderedJson::object();
  static const OrderedJson kNone = OrderedJson::object();
  const auto of = [](const OrderedJson& s) -> const OrderedJson& {
    return s.contains("properties") ? s["properties"] : kNone;
  };
  const auto said = [&](const OrderedJson& s, const std::string& name) {
    if (of(s).contains(name)) return of(s)[name];
    return s.contains("additionalProperties") ? s["additionalProperties"] : OrderedJson(true);
  };
  for (const OrderedJson* s : {&a, &b})
    for (const auto& [name, schema] : of(*s).items())
      out[name] = all_of(said(a, name), said(b, name));
  return out;
}

OrderedJson SchemaMerger::both(const OrderedJson& a, const OrderedJson& b,
                               const std::string& where) const {
  if (a == false || b == false) return false;
  if (a == true) return b;
  if (b == true) return a;
  if (!a.is_object() || !b.is_object())
    fail("{}: expected a schema, found {}", where, (a.is_object() ? b : a).dump());
  OrderedJson out = a;
  const bool named = a.contains("properties") || b.contains("properties");
  if (named && (a.contains("patternProperties") || b.contains("patternProperties")))
    fail("{}: patternProperties cannot be joined with another schema's properties", where);
  if (named) out["properties"] = join_properties(a, b);
  for (const auto& [key, value] : b.items()) {
    if (key == "properties") continue;
    if (!out.contains(key) || is_annotation(key)) {
      out[key] = value;
      continue;
    }
    OrderedJson& mine = out[key];
    if (mine == value) continue;
    if (key == "type")
      mine = join_types(mine, value, where);
    else if (key == "required")
      for (const OrderedJson& name : value) {
        if (std::ranges::find(mine, name) == mine.end()) mine.push_back(name);
      }
    else if (key == "enum")
      mine = common(mine, value);
    else if (key == "const")
      return false;
    else if (key == "additionalProperties" || key == "items" || key == "propertyNames")
      mine = mine == false || value == false ? OrderedJson(false) : all_of(mine, value);
    else if (key.starts_with("min") || key == "exclusiveMinimum")
      mine = value.get<double>() > mine.get<double>() ? value : mine;
    else if (key.starts_with("max") || key == "exclusiveMaximum")
      mine = value.get<double>() < mine.get<double>() ? value : mine;
    else if (key == "pattern")
      out["pattern"] = mine.is_array() ? mine : OrderedJson::array({mine}),
      out["pattern"].push_back(value);
    else if (key == "anyOf") {
      OrderedJson ways = OrderedJson::array();
      for (const OrderedJson& x : mine)
        for (const OrderedJson& y : value) ways.push_back(all_of(x, y));
      mine = std::move(ways);
    } else {
      fail("{}: two schemas that must hold together both have '{}', which cannot be joined", where,
           key);
    }
  }
  return out;
}

}  // namespace tokamak::guide
