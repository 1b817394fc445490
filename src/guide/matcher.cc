#include "guide/matcher.h"

#include <algorithm>

#include "base/error.h"

namespace tokamak::guide {
namespace {

constexpr size_t kMostPositions = 4096;
constexpr size_t kMostFrames = size_t{1} << 24;

uint64_t hash(const Frames::Frame& f) {
  uint64_t h = static_cast<uint32_t>(f.back) * 0x9E3779B97F4A7C15u;
  h ^= static_cast<uint32_t>(f.below) + 0x7F4A7C15u + (h << 6) + (h >> 2);
  return h * 0xBF58476D1CE4E5B9u >> 20;
}

}  // namespace

size_t Frames::slot_of(const Frame& f) const {
  size_t slot = hash(f) & (table_.size() - 1);
  for (; table_[slot] != 0; slot = (slot + 1) & (table_.size() - 1)) {
    const Frame& other = (*this)[table_[slot]];
    if (other.back == f.back && other.below == f.below) break;
  }
  return slot;
}

// In the order of their making, so that shrink can take them out again from the end.
void Frames::grow() {
  table_.assign(std::max<size_t>(64, table_.size() * 2), 0);
  for (size_t i = 0; i < frames_.size(); ++i)
    table_[slot_of(frames_[i])] = static_cast<int32_t>(i) + 1;
}

int32_t Frames::push(int32_t back, int32_t below) {
  if (2 * (frames_.size() + 1) > table_.size()) grow();
  const Frame f{back, below};
  const size_t slot = slot_of(f);
  if (table_[slot] != 0) return table_[slot];
  if (frames_.size() >= kMostFrames) fail("the grammar nests too deeply");
  frames_.push_back(f);
  return table_[slot] = static_cast<int32_t>(frames_.size());
}

void Frames::shrink(size_t size) {
  while (frames_.size() > size) {
    table_[slot_of(frames_.back())] = 0;
    frames_.pop_back();
  }
}

void close(const Grammar& grammar, Frames& frames, std::vector<Position>& from, Positions& out) {
  // `from` grows while it is worked through; what is in it once is not added again.
  const auto add = [&](Position p) {
    if (std::ranges::find(from, p) != from.end()) return;
    if (from.size() >= kMostPositions)
      fail("the grammar is too ambiguous: more than {} ways to read the text", kMostPositions);
    from.push_back(p);
  };
  out.at.clear();
  out.ended = false;
  for (size_t i = 0; i < from.size(); ++i) {
    const Position p = from[i];
    if (grammar.has_bytes(p.node)) out.at.push_back(p);
    if (grammar.plain(p.node)) continue;
    if (grammar.ends_rule(p.node)) {
      if (p.stack == 0)
        out.ended = true;
      else
        add({frames[p.stack].back, frames[p.stack].below});
    }
    for (const Grammar::Call& c : grammar.calls(p.node))
      add({c.start, c.tail ? p.stack : frames.push(c.back, p.stack)});
  }
}

}  // namespace tokamak::guide
