// Formats of strings as regular expressions.
#pragma once
#include <string>

namespace tokamak::guide {

// The pattern of a format; empty: the format restricts nothing (password, binary …). Error,
// beginning with `where`, for one that is not known.
const std::string& format_pattern(const std::string& format, const std::string& where);

}  // namespace tokamak::guide
