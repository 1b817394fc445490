// str.format, and the tests of case that methods and `is upper` share.
#pragma once
#include <string>
#include <string_view>

#include "text/jinja/value.h"

namespace tokamak::jinja {

// "{} {name.attribute[0]!r:>8}" with these arguments.
std::string format_braces(Heap& heap, std::string_view format, const Arguments& args);
// A value by a format spec such as ">8.2f".
std::string format_value(Heap& heap, const Value& v, std::string_view spec);
bool text_is_case(std::string_view text, bool upper);

}  // namespace tokamak::jinja
