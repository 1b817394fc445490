// Attributes of an op: a small ordered map of named values. Typed structs (ops/linear.h …) read and
// write it; kernels use the structs.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/error.h"
#include "base/json.h"

namespace tokamak {

using AttrValue =
    std::variant<bool, int64_t, double, std::string, std::vector<int64_t>, std::vector<double>>;

class Attrs {
 public:
  template <typename T>
  Attrs& set(const std::string& name, T value) {
    if constexpr (std::is_same_v<T, bool>)
      values_[name] = value;
    else if constexpr (std::is_integral_v<T>)
      values_[name] = static_cast<int64_t>(value);
    else if constexpr (std::is_floating_point_v<T>)
      values_[name] = static_cast<double>(value);
    else if constexpr (std::is_convertible_v<T, std::string>)
      values_[name] = std::string(value);
    else
      values_[name] = std::move(value);
    return *this;
  }
  bool has(const std::string& name) const { return values_.count(name) != 0; }
  // T is one of AttrValue's alternatives; Error names a missing or mistyped attribute.
  template <typename T>
  T get(const std::string& name) const {
    const auto it = values_.find(name);
    if (it == values_.end()) fail("missing op attribute '{}'", name);
    if (const T* v = std::get_if<T>(&it->second)) return *v;
    fail("op attribute '{}' has another type than expected", name);
  }
  template <typename T>
  T get_or(const std::string& name, T fallback) const {
    return has(name) ? get<T>(name) : fallback;
  }

  // "eps=1e-05,heads=9": equal attributes give equal keys.
  std::string key() const;
  Json to_json() const;
  static Attrs from_json(const Json& json);
  bool operator==(const Attrs& o) const = default;
  const std::map<std::string, AttrValue>& values() const { return values_; }

 private:
  std::map<std::string, AttrValue> values_;
};

}  // namespace tokamak
