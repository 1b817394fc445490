// Ranges of characters as ranges of bytes.
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <span>

#include "guide/expr.h"

namespace tokamak::guide {

struct ByteRange {
  uint8_t first = 0, last = 0;
};
// Calls for each sequence of byte ranges (1 to 4 long) whose product is the UTF-8 of a part of the
// range; together they are all of it. The range holds no surrogates.
void utf8_sequences(CharRange range, const std::function<void(std::span<const ByteRange>)>& take);

}  // namespace tokamak::guide
