// A validator of JSON schemas that shares no code with the one under test: the keywords that tests
// use, as the specification words them.
#pragma once
#include <string>

#include "base/json.h"

namespace tokamak::testing {

// Empty when the value satisfies the schema; else what it violates.
std::string violation(const OrderedJson& schema, const OrderedJson& value, const OrderedJson& root);

}  // namespace tokamak::testing
