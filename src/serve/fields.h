// Fields of a request's body. null counts as absent. Errors (400) name the field, what was found
// and what is expected.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "serve/api_error.h"

namespace tokamak::serve {

class Fields {
 public:
  explicit Fields(const Json& object, std::string prefix = {});  // Error unless it is an object

  const Json* find(const char* name) const;
  const Json& get(const char* name) const;
  std::optional<double> number(const char* name) const;
  std::optional<double> number(const char* name, double low, double high) const;
  std::optional<int64_t> integer(const char* name) const;
  std::optional<int64_t> integer(const char* name, int64_t low, int64_t high) const;
  std::optional<bool> boolean(const char* name) const;
  std::optional<std::string> string(const char* name) const;
  std::vector<std::string> strings(const char* name) const;  // one, or an array of them
  std::vector<int32_t> ids(const char* name, int64_t vocab_size) const;

  bool flag(const char* name) const { return boolean(name).value_or(false); }
  [[noreturn]] void wrong(const char* name, const std::string& expected) const;
  [[noreturn]] void wrong(const char* name, const Json& found, const std::string& expected) const;

 private:
  const Json& object_;
  std::string prefix_;
};

// A number without a fraction, of 63 bits.
std::optional<int64_t> as_integer(const Json& value);
// Token ids of an array; `name` is for the error.
std::vector<int32_t> to_ids(const Json& array, int64_t vocab_size, const std::string& name);
// A value as errors show it: its kind and its beginning.
std::string describe(const Json& value);

}  // namespace tokamak::serve
