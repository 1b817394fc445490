#include "guide/walk.h"

#include <algorithm>

namespace tokamak::guide {

bool step(const Grammar& grammar, Frames& frames, std::span<const Position> at, uint8_t byte,
          std::vector<Position>& scratch, Positions& out) {
  scratch.clear();
  for (const Position& p : at) {
    const int32_t next = grammar.next(p.node, byte);
    if (next < 0) continue;
    const Position q{next, p.stack};
    if (std::ranges::find(scratch, q) == scratch.end()) scratch.push_back(q);
  }
  if (scratch.empty()) return false;
  close(grammar, frames, scratch, out);
  return true;
}

}  // namespace tokamak::guide
