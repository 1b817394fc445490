// What flows from normalizers to pre-tokenizers to the model: valid UTF-8, cut into pieces.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace tokamak {

struct NormalText {
  std::string text;
  // Positions ≤ start_until stand where the whole input begins (kFirst schemes ask for that);
  // kNowhere: the text begins elsewhere.
  static constexpr size_t kNowhere = SIZE_MAX;
  size_t start_until = kNowhere;

  bool at_start(size_t position) const {
    return start_until != kNowhere && position <= start_until;
  }
};

// Steps may lengthen a text (a character becomes at most 18 in a normal form), but a file whose
// steps double it again and again is refused before memory runs out.
inline size_t max_growth(size_t size) { return size * 64 + (1u << 20); }
inline void check_growth(size_t size, size_t limit) {
  if (size > limit) fail("the tokenizer's steps make a text of {} bytes out of a short one", size);
}

struct Span {
  uint32_t begin = 0, end = 0;
};

struct TextPieces : NormalText {
  std::vector<Span> spans;  // in order, none empty
  std::string_view view(Span s) const {
    return std::string_view(text).substr(s.begin, s.end - s.begin);
  }
};

}  // namespace tokamak
