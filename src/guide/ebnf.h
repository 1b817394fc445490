// Grammars in the notation of llama.cpp and XGrammar:
//   root ::= "yes" | "no" why?    # comments
//   why  ::= " because " [a-z ]{1,80}
// Literals "…" with escapes, sets [a-z] [^\n], . for any character, groups, * + ? {m} {m,} {m,n}.
// A rule ends where the next name with ::= begins.
#pragma once
#include <string_view>

#include "guide/expr.h"

namespace tokamak::guide {

// `root` is where texts begin. Errors name line and column, or the rule that is missing.
Rules parse_ebnf(std::string_view text);

}  // namespace tokamak::guide
