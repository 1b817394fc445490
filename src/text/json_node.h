// A value of a parsed JSON file that knows its place: every complaint names file and field.
#pragma once
#include <simdjson.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"

namespace tokamak {

class JsonNode {
 public:
  JsonNode(simdjson::dom::element value, const std::string& source, std::string path)
      : value_(value), source_(&source), path_(std::move(path)) {}

  // Throws Error: "file: field: expected WHAT, found KIND".
  [[noreturn]] void wrong(std::string_view expected) const;
  [[noreturn]] void refuse(std::string_view why) const;

  bool is_null() const { return value_.is_null(); }
  bool is_object() const { return value_.is_object(); }
  bool is_array() const { return value_.is_array(); }
  bool is_string() const { return value_.is_string(); }

  // The member, unless it is absent or null.
  std::optional<JsonNode> find(std::string_view key) const;
  JsonNode at(std::string_view key) const;

  std::string_view text() const;
  bool boolean() const;
  double number() const;
  uint32_t natural() const;  // an integer from 0 to 2^31 - 1
  char32_t character() const;

  std::string text_or(std::string_view key, std::string_view otherwise) const;
  bool boolean_or(std::string_view key, bool otherwise) const;

  template <typename Visit>
  void each(Visit&& visit) const {
    size_t i = 0;
    for (const auto item : array()) {
      visit(JsonNode(item, *source_, fmt::format("{}[{}]", path_, i++)));
    }
  }
  // Without paths for each item: for vocabularies.
  simdjson::dom::object object() const;
  simdjson::dom::array array() const;

  const std::string& source() const { return *source_; }
  const std::string& path() const { return path_; }
  // "file: field", for messages of what is made from this value.
  std::string place() const { return *source_ + ": " + path_; }

 private:
  simdjson::dom::element value_;
  const std::string* source_;
  std::string path_;
};

}  // namespace tokamak
