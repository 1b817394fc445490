#include "text/byte_level.h"

#include "text/unicode.h"

namespace tokamak::byte_level {
namespace {

// Bytes without a printable Latin-1 character take U+0100 … in order: 0…32, 127…160, 173.
constexpr bool printable(unsigned b) { return (b > 32 && b < 127) || (b > 160 && b != 173); }

}  // namespace

char32_t char_of(unsigned char byte) {
  if (printable(byte)) return byte;
  if (byte <= 32) return 256u + byte;
  return byte == 173 ? 323u : 256u + 33 + (byte - 127u);
}

std::optional<unsigned char> byte_of(char32_t c) {
  if (c < 256 && printable(c)) return static_cast<unsigned char>(c);
  if (c >= 256 && c <= 288) return static_cast<unsigned char>(c - 256);
  if (c >= 289 && c <= 322) return static_cast<unsigned char>(c - 289 + 127);
  if (c == 323) return static_cast<unsigned char>(173);
  return std::nullopt;
}

void append_mapped(std::string& out, std::string_view bytes) {
  for (const char b : bytes) unicode::append(out, char_of(static_cast<unsigned char>(b)));
}

std::optional<std::string> unmapped(std::string_view piece) {
  std::string out;
  for (size_t i = 0; i < piece.size();) {
    const auto byte = byte_of(unicode::next(piece, i));
    if (!byte) return std::nullopt;
    out += static_cast<char>(*byte);
  }
  return out;
}

}  // namespace tokamak::byte_level
