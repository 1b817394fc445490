#include "serve/fields.h"

#include <cmath>

namespace tokamak::serve {

std::optional<int64_t> as_integer(const Json& value) {
  if (value.is_number_float()) {  // 5.0 is what some clients send for 5
    const double d = value.get<double>();
    if (d != std::floor(d) || std::abs(d) > 9e15) return {};
    return static_cast<int64_t>(d);
  }
  if (!value.is_number_integer()) return {};
  if (value.is_number_unsigned() && value.get<uint64_t>() > INT64_MAX) return {};
  return value.get<int64_t>();
}

std::string describe(const Json& value) {
  if (value.is_array()) return fmt::format("an array of {}", value.size());
  if (value.is_object()) return "an object";
  std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
  if (text.size() > 60) text = text.substr(0, 57) + "...";
  return text;
}

Fields::Fields(const Json& object, std::string prefix)
    : object_(object), prefix_(std::move(prefix)) {
  if (!object.is_object())
    throw ApiError(400, fmt::format("{}: expected a JSON object, found {}",
                                    prefix_.empty() ? "the body" : prefix_, describe(object)));
  if (!prefix_.empty()) prefix_ += '.';
}

const Json* Fields::find(const char* name) const {
  const auto it = object_.find(name);
  return it == object_.end() || it->is_null() ? nullptr : &*it;
}

const Json& Fields::get(const char* name) const {
  if (const Json* v = find(name)) return *v;
  throw ApiError(400, fmt::format("{}{} is missing", prefix_, name), prefix_ + name,
                 "missing_required_parameter");
}

void Fields::wrong(const char* name, const Json& found, const std::string& expected) const {
  throw ApiError(
      400, fmt::format("{}{}: expected {}, found {}", prefix_, name, expected, describe(found)),
      prefix_ + name, "invalid_value");
}

void Fields::wrong(const char* name, const std::string& expected) const {
  wrong(name, get(name), expected);
}

std::optional<double> Fields::number(const char* name) const {
  const Json* v = find(name);
  if (!v) return {};
  if (!v->is_number()) wrong(name, "a number");
  return v->get<double>();
}

std::optional<double> Fields::number(const char* name, double low, double high) const {
  const auto v = number(name);
  if (v && !(*v >= low && *v <= high))
    wrong(name, fmt::format("a number between {} and {}", low, high));
  return v;
}

std::optional<int64_t> Fields::integer(const char* name) const {
  const Json* v = find(name);
  if (!v) return {};
  const auto i = as_integer(*v);
  if (!i) wrong(name, v->is_number_unsigned() ? "an integer of 63 bits" : "an integer");
  return i;
}

std::optional<int64_t> Fields::integer(const char* name, int64_t low, int64_t high) const {
  const auto v = integer(name);
  if (v && (*v < low || *v > high))
    wrong(name, fmt::format("an integer between {} and {}", low, high));
  return v;
}

std::optional<bool> Fields::boolean(const char* name) const {
  const Json* v = find(name);
  if (!v) return {};
  if (!v->is_boolean()) wrong(name, "true or false");
  return v->get<bool>();
}

std::optional<std::string> Fields::string(const char* name) const {
  const Json* v = find(name);
  if (!v) return {};
  if (!v->is_string()) wrong(name, "a string");
  return v->get<std::string>();
}

std::vector<std::string> Fields::strings(const char* name) const {
  const Json* v = find(name);
  if (!v) return {};
  if (v->is_string()) return {v->get<std::string>()};
  if (!v->is_array()) wrong(name, "a string or an array of strings");
  std::vector<std::string> out;
  for (const Json& item : *v) {
    if (!item.is_string()) wrong(name, item, "a string or an array of strings");
    out.push_back(item.get<std::string>());
  }
  return out;
}

std::vector<int32_t> Fields::ids(const char* name, int64_t vocab_size) const {
  const Json* v = find(name);
  if (!v) return {};
  if (!v->is_array()) wrong(name, "an array of token ids");
  return to_ids(*v, vocab_size, prefix_ + name);
}

std::vector<int32_t> to_ids(const Json& array, int64_t vocab_size, const std::string& name) {
  std::vector<int32_t> out;
  out.reserve(array.size());
  for (const Json& id : array) {
    const auto i = as_integer(id);
    if (!i || *i < 0 || *i >= vocab_size)
      throw ApiError(400,
                     fmt::format("{}: expected token ids from 0 to {}, found {}", name,
                                 vocab_size - 1, describe(id)),
                     name, "invalid_value");
    out.push_back(static_cast<int32_t>(*i));
  }
  return out;
}

}  // namespace tokamak::serve
