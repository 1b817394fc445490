// Schemas that must hold together, as one.
#pragma once
#include <string>

#include "base/json.h"

namespace tokamak::guide {

class SchemaMerger {
 public:
  explicit SchemaMerger(const OrderedJson& root) : root_(root) {}

  // What "#/$defs/x" names; Error, beginning with `where`, when there is nothing.
  const OrderedJson& target(const std::string& reference, const std::string& where) const;
  // One schema without $ref and allOf at its top.
  OrderedJson flat(const OrderedJson& schema, const std::string& where, int depth = 0) const;
  // Both hold; both flat.
  OrderedJson both(const OrderedJson& a, const OrderedJson& b, const std::string& where) const;

 private:
  OrderedJson join_properties(const OrderedJson& a, const OrderedJson& b) const;
  const OrderedJson& root_;
};

// The schema's possible types, as JSON schema reads it ("integer" is a number).
std::vector<std::string> types_of(const OrderedJson& schema, const std::string& where);
bool is_annotation(const std::string& keyword);

}  // namespace tokamak::guide
