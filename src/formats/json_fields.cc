#include "formats/json_fields.h"

#include <cmath>
#include <limits>

namespace tokamak {
namespace {

std::string shown(const Json& value) {
  std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
  if (text.size() > 60) text = text.substr(0, 57) + "...";
  return text;
}

std::optional<int64_t> as_int(const Json& v) {
  if (v.is_number_unsigned() && v.get<uint64_t>() > INT64_MAX) return {};
  if (v.is_number_integer()) return v.get<int64_t>();
  if (v.is_number_float()) {  // some writers give 4096.0
    const double d = v.get<double>();
    if (d == std::floor(d) && std::abs(d) < 9e15) return static_cast<int64_t>(d);
  }
  return {};
}

}  // namespace

JsonFields::JsonFields(const Json& json, std::string source, std::string prefix)
    : json_(json), source_(std::move(source)), prefix_(std::move(prefix)) {
  if (!json.is_object())
    fail("'{}': {} is not a JSON object", source_,
         prefix_.empty() ? "the content" : "'" + prefix_.substr(0, prefix_.size() - 1) + "'");
}

void JsonFields::wrong(const std::string& key, const char* expected) const {
  const Json* v = find(key);
  if (!v) fail("'{}' has no field '{}{}' (expected {})", source_, prefix_, key, expected);
  fail("'{}': field '{}{}' holds {}, expected {}", source_, prefix_, key, shown(*v), expected);
}

const Json* JsonFields::find(const std::string& key) const {
  const auto it = json_.find(key);
  return it == json_.end() || it->is_null() ? nullptr : &*it;
}

std::optional<int64_t> JsonFields::find_int(const std::string& key) const {
  const Json* v = find(key);
  if (!v) return {};
  const auto n = as_int(*v);
  if (!n) wrong(key, "an integer");
  return n;
}

std::optional<double> JsonFields::find_float(const std::string& key) const {
  const Json* v = find(key);
  if (!v) return {};
  if (!v->is_number()) wrong(key, "a number");
  const double d = v->get<double>();
  if (!std::isfinite(d)) wrong(key, "a finite number");
  return d;
}

std::optional<bool> JsonFields::find_bool(const std::string& key) const {
  const Json* v = find(key);
  if (!v) return {};
  if (!v->is_boolean()) wrong(key, "true or false");
  return v->get<bool>();
}

std::optional<std::string> JsonFields::find_string(const std::string& key) const {
  const Json* v = find(key);
  if (!v) return {};
  if (!v->is_string()) wrong(key, "a text");
  return v->get<std::string>();
}

int64_t JsonFields::get_int(const std::string& key) const {
  const auto v = find_int(key);
  if (!v) wrong(key, "an integer");
  return *v;
}

double JsonFields::get_float(const std::string& key) const {
  const auto v = find_float(key);
  if (!v) wrong(key, "a number");
  return *v;
}

std::string JsonFields::get_string(const std::string& key) const {
  const auto v = find_string(key);
  if (!v) wrong(key, "a text");
  return *v;
}

std::vector<double> JsonFields::floats(const std::string& key) const {
  std::vector<double> out;
  const Json* v = find(key);
  if (!v) return out;
  if (!v->is_array()) wrong(key, "a list of numbers");
  for (const Json& e : *v) {
    if (!e.is_number()) wrong(key, "a list of numbers");
    out.push_back(e.get<double>());
  }
  return out;
}

std::vector<int64_t> JsonFields::ints(const std::string& key) const {
  std::vector<int64_t> out;
  const Json* v = find(key);
  if (!v) return out;
  if (!v->is_array()) wrong(key, "a list of integers");
  for (const Json& e : *v) {
    const auto n = e.is_boolean() ? std::optional<int64_t>(e.get<bool>()) : as_int(e);
    if (!n) wrong(key, "a list of integers");
    out.push_back(*n);
  }
  return out;
}

std::vector<std::string> JsonFields::strings(const std::string& key) const {
  std::vector<std::string> out;
  const Json* v = find(key);
  if (!v) return out;
  if (!v->is_array()) wrong(key, "a list of texts");
  for (const Json& e : *v) {
    if (!e.is_string()) wrong(key, "a list of texts");
    out.push_back(e.get<std::string>());
  }
  return out;
}

std::optional<JsonFields> JsonFields::object(const std::string& key) const {
  const Json* v = find(key);
  if (!v) return {};
  if (!v->is_object()) wrong(key, "an object");
  return std::optional<JsonFields>(std::in_place, *v, source_, prefix_ + key + ".");
}

}  // namespace tokamak
