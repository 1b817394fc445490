#include "guide/utf8_ranges.h"

#include <algorithm>

namespace tokamak::guide {
namespace {

int encode(char32_t c, std::array<uint8_t, 4>& out) {
  const auto tail = [&](int shift) { return static_cast<uint8_t>(0x80 | ((c >> shift) & 0x3F)); };
  if (c < 0x80) {
    out[0] = static_cast<uint8_t>(c);
    return 1;
  }
  if (c < 0x800) {
    out = {static_cast<uint8_t>(0xC0 | c >> 6), tail(0)};
    return 2;
  }
  if (c < 0x10000) {
    out = {static_cast<uint8_t>(0xE0 | c >> 12), tail(6), tail(0)};
    return 3;
  }
  out = {static_cast<uint8_t>(0xF0 | c >> 18), tail(12), tail(6), tail(0)};
  return 4;
}

}  // namespace

void utf8_sequences(CharRange range, const std::function<void(std::span<const ByteRange>)>& take) {
  if (range.first > range.last) return;
  for (const char32_t edge : {0x7Fu, 0x7FFu, 0xFFFFu})  // where lengths change
    if (range.first <= edge && range.last > edge) {
      utf8_sequences({range.first, edge}, take);
      utf8_sequences({edge + 1, range.last}, take);
      return;
    }
  // A range is a product of byte ranges when all below the first byte that differs is free.
  for (int bits = 6; bits <= 18; bits += 6) {
    const char32_t low = (char32_t{1} << bits) - 1;
    if ((range.first & ~low) == (range.last & ~low)) break;
    if ((range.first & low) != 0) {
      utf8_sequences({range.first, range.first | low}, take);
      utf8_sequences({(range.first | low) + 1, range.last}, take);
      return;
    }
    if ((range.last & low) != low) {
      utf8_sequences({range.first, (range.last & ~low) - 1}, take);
      utf8_sequences({range.last & ~low, range.last}, take);
      return;
    }
  }
  std::array<uint8_t, 4> a{}, b{};
  const int n = encode(range.first, a);
  encode(range.last, b);
  std::array<ByteRange, 4> out;
  for (int i = 0; i < n; ++i)
    out[static_cast<size_t>(i)] = {a[static_cast<size_t>(i)], b[static_cast<size_t>(i)]};
  take(std::span(out).first(static_cast<size_t>(n)));
}

}  // namespace tokamak::guide
