// Regular expressions as grammars: the common part of ECMAScript's, Python's and Rust's syntax.
// Classes \d \w \s are ASCII's; what is not regular (look-around, back references) is an Error.
#pragma once
#include <string>
#include <string_view>

#include "guide/expr.h"

namespace tokamak::guide {

// The whole text matches; ^ and $ at the ends are allowed. `where` begins messages.
ExprPtr regex_full(std::string_view pattern, const std::string& where);
// The pattern is found somewhere in the text, as JSON schema's `pattern`: ^ and $ bind it.
ExprPtr regex_search(std::string_view pattern, const std::string& where);

CharSet any_char();  // all of Unicode

}  // namespace tokamak::guide
