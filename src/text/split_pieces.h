// Cutting spans by matches, with the five behaviours of delimiters.
#pragma once
#include <functional>
#include <string_view>
#include <vector>

#include "text/regex.h"
#include "text/text_pieces.h"
#include "text/tokenizer_spec.h"
#include "text/unicode.h"

namespace tokamak {

struct Cut {  // a part of a span, relative to the span's begin
  uint32_t begin = 0, end = 0;
  bool match = false;
};

// Turns the cuts that cover a span (which begins at `base`) into spans; empty ones are left out.
void append_spans(const std::vector<Cut>& cuts, SplitBehavior behavior, uint32_t base,
                  std::vector<Span>& spans);

// Cuts of a text by a regular expression.
void regex_cuts(Regex::Matcher& matcher, std::string_view text, bool invert,
                std::vector<Cut>& cuts);

// Cuts of a text where `is_match` holds for single characters.
template <typename Predicate>
void char_cuts(std::string_view text, Predicate&& is_match, std::vector<Cut>& cuts) {
  uint32_t last = 0;
  for (size_t i = 0; i < text.size();) {
    const auto at = static_cast<uint32_t>(i);
    if (!is_match(unicode::next(text, i))) continue;
    if (last < at) cuts.push_back({last, at, false});
    last = static_cast<uint32_t>(i);
    cuts.push_back({at, last, true});
  }
  if (last < text.size()) cuts.push_back({last, static_cast<uint32_t>(text.size()), false});
}

// Replaces every span of the pieces by what `cut` makes of it.
template <typename CutSpan>
void split_pieces(TextPieces& pieces, SplitBehavior behavior, CutSpan&& cut) {
  std::vector<Span> spans;
  std::vector<Cut> cuts;
  for (const Span span : pieces.spans) {
    cuts.clear();
    cut(pieces.view(span), cuts);
    append_spans(cuts, behavior, span.begin, spans);
  }
  pieces.spans = std::move(spans);
}

}  // namespace tokamak
