#include "text/split_pieces.h"

#include <algorithm>

namespace tokamak {
namespace {

// `joins(match, previous_match)`: the cut belongs to the one before it.
template <typename Joins>
void joined(const std::vector<Cut>& cuts, uint32_t base, Joins&& joins, std::vector<Span>& spans) {
  const size_t first = spans.size();
  bool previous = false;
  for (const Cut& cut : cuts) {
    if (spans.size() > first && joins(cut.match, previous)) {
      spans.back().end = base + cut.end;
    } else {
      spans.push_back({base + cut.begin, base + cut.end});
    }
    previous = cut.match;
  }
}

void merged_with_next(const std::vector<Cut>& cuts, uint32_t base, std::vector<Span>& spans) {
  const auto first = static_cast<std::ptrdiff_t>(spans.size());
  bool following = false;
  for (auto cut = cuts.rbegin(); cut != cuts.rend(); ++cut) {
    if (cut->match && !following && std::ssize(spans) > first) {
      spans.back().begin = base + cut->begin;
    } else {
      spans.push_back({base + cut->begin, base + cut->end});
    }
    following = cut->match;
  }
  std::reverse(spans.begin() + first, spans.end());
}

}  // namespace

void append_spans(const std::vector<Cut>& cuts, SplitBehavior behavior, uint32_t base,
                  std::vector<Span>& spans) {
  const auto first = static_cast<std::ptrdiff_t>(spans.size());
  switch (behavior) {
    case SplitBehavior::kIsolated:
      for (const Cut& cut : cuts) spans.push_back({base + cut.begin, base + cut.end});
      break;
    case SplitBehavior::kRemoved:
      for (const Cut& cut : cuts) {
        if (!cut.match) spans.push_back({base + cut.begin, base + cut.end});
      }
      break;
    case SplitBehavior::kContiguous:
      joined(
          cuts, base, [](bool match, bool previous) { return match == previous; }, spans);
      break;
    case SplitBehavior::kMergedWithPrevious:
      joined(
          cuts, base, [](bool match, bool previous) { return match && !previous; }, spans);
      break;
    case SplitBehavior::kMergedWithNext:
      merged_with_next(cuts, base, spans);
      break;
  }
  spans.erase(std::remove_if(spans.begin() + first, spans.end(),
                             [](const Span& s) { return s.begin == s.end; }),
              spans.end());
}

void regex_cuts(Regex::Matcher& matcher, std::string_view text, bool invert,
                std::vector<Cut>& cuts) {
  matcher.reset(text);
  size_t last = 0;
  const auto push = [&](size_t begin, size_t end, bool match) {
    cuts.push_back({static_cast<uint32_t>(begin), static_cast<uint32_t>(end), match != invert});
  };
  for (Regex::Match match; matcher.next(match);) {
    if (last != match.begin) push(last, match.begin, false);
    push(match.begin, match.end, true);
    last = match.end;
  }
  if (last != text.size()) push(last, text.size(), false);
}

}  // namespace tokamak
