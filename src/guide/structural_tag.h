// Structural tags, as XGrammar's users write them: free text, and at certain words of it (triggers)
// a tag: `begin`, what a format says, `end`; then free text again. Two forms:
//   {"structures": [{"begin", "schema", "end"}], "triggers": [...]}
//   {"format": F}, F of the type triggered_tags, tags_with_separator, tag, sequence, or, any_text,
//   const_string, json_schema, regex
#pragma once
#include "base/json.h"
#include "guide/expr.h"
#include "guide/json_text.h"

namespace tokamak::guide {

// Error: what is missing, of another type or unknown, and its place; a tag without a trigger.
ExprPtr structural_tag(Rules& rules, JsonText& json, const OrderedJson& spec);

}  // namespace tokamak::guide
