// Typed access to the fields of a JSON object: errors name the file, the field, what it holds and
// what was expected. Null counts as absent.
#pragma once
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/json.h"

namespace tokamak {

class JsonFields {
 public:
  // Both must outlive this; throws when `json` is not an object.
  JsonFields(const Json& json, std::string source, std::string prefix = {});
  const std::string& source() const { return source_; }
  const Json& json() const { return json_; }

  // The field, or null when it is absent or null.
  const Json* find(const std::string& key) const;
  bool has(const std::string& key) const { return find(key) != nullptr; }
  std::optional<int64_t> find_int(const std::string& key) const;
  std::optional<double> find_float(const std::string& key) const;
  std::optional<bool> find_bool(const std::string& key) const;
  std::optional<std::string> find_string(const std::string& key) const;
  int64_t get_int(const std::string& key) const;
  double get_float(const std::string& key) const;
  std::string get_string(const std::string& key) const;
  std::vector<double> floats(const std::string& key) const;  // empty when absent
  std::vector<int64_t> ints(const std::string& key) const;   // also true/false as 1/0
  std::vector<std::string> strings(const std::string& key) const;
  std::optional<JsonFields> object(const std::string& key) const;
  [[noreturn]] void wrong(const std::string& key, const char* expected) const;

 private:
  const Json& json_;
  std::string source_, prefix_;
};

}  // namespace tokamak
