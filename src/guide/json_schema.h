// JSON schemas (draft 2020-12) as grammars: every text of the grammar is JSON that the schema
// accepts. The converse does not hold: properties come in the order in which the schema has them,
// properties and items that a schema neither names nor forbids do not appear, numbers have at most
// 18 digits.
#pragma once
#include <string>

#include "base/json.h"
#include "guide/expr.h"
#include "guide/json_text.h"

namespace tokamak::guide {

// Error: a keyword that is not supported and where it stands, a schema that nothing satisfies,
// references that lead nowhere.
ExprPtr json_schema(Rules& rules, JsonText& json, const OrderedJson& schema);

}  // namespace tokamak::guide
