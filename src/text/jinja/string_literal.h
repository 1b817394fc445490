// Escape sequences of a string literal, as Python decodes them.
#pragma once
#include <string>
#include <string_view>

namespace tokamak::jinja {

// Sets `error` when a sequence is malformed or names no Unicode character.
std::string unescape(std::string_view body, std::string& error);

}  // namespace tokamak::jinja
