// GPT-2's printable alphabet for bytes: each byte has one character, so that any text is a string
// of 256 letters.
#pragma once
#include <optional>
#include <string>
#include <string_view>

namespace tokamak::byte_level {

char32_t char_of(unsigned char byte);
std::optional<unsigned char> byte_of(char32_t c);
void append_mapped(std::string& out, std::string_view bytes);
// The bytes that a piece spells; nothing when a character is not of the alphabet.
std::optional<std::string> unmapped(std::string_view piece);

}  // namespace tokamak::byte_level
