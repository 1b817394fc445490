#include "ops/attrs.h"

#include <cmath>
#include <nlohmann/json.hpp>

namespace tokamak {
namespace {

// The shortest text that reads back as the same double; always with a mark that it is one.
std::string text(double v) {
  std::string s = fmt::format("{}", v);
  return s.find_first_of(".en") == std::string::npos ? s + ".0" : s;
}

std::string text(const AttrValue& value) {
  struct Visitor {
    std::string operator()(bool v) const { return v ? "true" : "false"; }
    std::string operator()(int64_t v) const { return std::to_string(v); }
    std::string operator()(double v) const { return text(v); }
    std::string operator()(const std::string& v) const { return v; }
    std::string operator()(const std::vector<int64_t>& v) const {
      std::string s = "[";
      for (size_t i = 0; i < v.size(); ++i) s += (i ? " " : "") + std::to_string(v[i]);
      return s + "]";
    }
    std::string operator()(const std::vector<double>& v) const {
      std::string s = "[";
      for (size_t i = 0; i < v.size(); ++i) s += (i ? " " : "") + text(v[i]);
      return s + "]";
    }
  };
  return std::visit(Visitor{}, value);
}

// JSON has no infinities: they are written as {"double": "inf"}.
Json json_of(double v) {
  if (std::isfinite(v)) return v;
  return Json{{"double", std::isnan(v) ? "nan" : v > 0 ? "inf" : "-inf"}};
}

double double_of(const Json& json, const std::string& attribute) {
  if (json.is_number()) return json.get<double>();
  if (json.is_object() && json.size() == 1 && json.contains("double")) {
    const Json& word = json["double"];
    if (word == "inf") return INFINITY;
    if (word == "-inf") return -INFINITY;
    if (word == "nan") return NAN;
  }
  fail("op attribute '{}': expected a number, found {}", attribute, json.dump());
}

AttrValue array_of(const Json& json, const std::string& attribute) {
  bool integers = true;
  for (const Json& e : json) integers = integers && e.is_number_integer();
  if (integers) return json.get<std::vector<int64_t>>();
  std::vector<double> values;
  for (const Json& e : json) values.push_back(double_of(e, attribute));
  return values;
}

}  // namespace

std::string Attrs::key() const {
  std::string s;
  for (const auto& [name, value] : values_) s += (s.empty() ? "" : ",") + name + "=" + text(value);
  return s;
}

Json Attrs::to_json() const {
  Json json = Json::object();
  for (const auto& [name, value] : values_) {
    if (const auto* d = std::get_if<double>(&value)) {
      json[name] = json_of(*d);
    } else if (const auto* list = std::get_if<std::vector<double>>(&value)) {
      json[name] = Json::array();
      for (double d : *list) json[name].push_back(json_of(d));
    } else {
      std::visit([&json, &name = name](const auto& v) { json[name] = v; }, value);
    }
  }
  return json;
}

Attrs Attrs::from_json(const Json& json) {
  if (!json.is_object()) fail("op attributes: expected a JSON object, found {}", json.dump());
  Attrs attrs;
  for (const auto& [name, value] : json.items()) {
    AttrValue& slot = attrs.values_[name];
    if (value.is_boolean())
      slot = value.get<bool>();
    else if (value.is_number_integer())
      slot = value.get<int64_t>();
    else if (value.is_string())
      slot = value.get<std::string>();
    else if (value.is_array())
      slot = array_of(value, name);
    else
      slot = double_of(value, name);
  }
  return attrs;
}

}  // namespace tokamak
