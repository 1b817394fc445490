#include "text/json_node.h"

#include "text/unicode.h"

namespace tokamak {
namespace {

std::string_view kind_of(const simdjson::dom::element& value) {
  using simdjson::dom::element_type;
  switch (value.type()) {
    case element_type::ARRAY:
      return "an array";
    case element_type::OBJECT:
      return "an object";
    case element_type::INT64:
    case element_type::UINT64:
    case element_type::DOUBLE:
      return "a number";
    case element_type::STRING:
      return "a string";
    case element_type::BOOL:
      return "a boolean";
    case element_type::NULL_VALUE:
      return "null";
  }
  return "an unknown value";
}

}  // namespace

void JsonNode::wrong(std::string_view expected) const {
  fail("{}: expected {}, found {}", place(), expected, kind_of(value_));
}

void JsonNode::refuse(std::string_view why) const { fail("{}: {}", place(), why); }

std::optional<JsonNode> JsonNode::find(std::string_view key) const {
  simdjson::dom::element member;
  if (object().at_key(key).get(member) != simdjson::SUCCESS || member.is_null()) {
    return std::nullopt;
  }
  return JsonNode(member, *source_,
                  path_.empty() ? std::string(key) : fmt::format("{}.{}", path_, key));
}

JsonNode JsonNode::at(std::string_view key) const {
  auto member = find(key);
  if (!member) refuse(fmt::format("the field '{}' is missing", key));
  return *std::move(member);
}

std::string_view JsonNode::text() const {
  std::string_view out;
  if (value_.get_string().get(out) != simdjson::SUCCESS) wrong("a string");
  return out;
}

bool JsonNode::boolean() const {
  bool out = false;
  if (value_.get_bool().get(out) != simdjson::SUCCESS) wrong("a boolean");
  return out;
}

double JsonNode::number() const {
  double out = 0;
  if (value_.get_double().get(out) != simdjson::SUCCESS) wrong("a number");
  return out;
}

uint32_t JsonNode::natural() const {
  uint64_t out = 0;
  if (value_.get_uint64().get(out) != simdjson::SUCCESS || out > INT32_MAX) {
    wrong("an integer from 0 to 2147483647");
  }
  return static_cast<uint32_t>(out);
}

char32_t JsonNode::character() const {
  const std::string_view s = text();
  if (s.empty() || unicode::count(s) != 1) refuse("expected a single character");
  size_t i = 0;
  return unicode::next(s, i);
}

std::string JsonNode::text_or(std::string_view key, std::string_view otherwise) const {
  const auto member = find(key);
  return std::string(member ? member->text() : otherwise);
}

bool JsonNode::boolean_or(std::string_view key, bool otherwise) const {
  const auto member = find(key);
  return member ? member->boolean() : otherwise;
}

simdjson::dom::object JsonNode::object() const {
  simdjson::dom::object out;
  if (value_.get_object().get(out) != simdjson::SUCCESS) wrong("an object");
  return out;
}

simdjson::dom::array JsonNode::array() const {
  simdjson::dom::array out;
  if (value_.get_array().get(out) != simdjson::SUCCESS) wrong("an array");
  return out;
}

}  // namespace tokamak
