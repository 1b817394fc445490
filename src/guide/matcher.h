// Where a text stands in a grammar: the live positions, each with its stack of rules to return to.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "guide/grammar.h"

namespace tokamak::guide {

// Stacks that share their lower parts; equal ones have one number. 0 is the empty stack.
class Frames {
 public:
  struct Frame {
    int32_t back = 0;   // the node to return to
    int32_t below = 0;  // the rest of the stack
  };
  int32_t push(int32_t back, int32_t below);
  const Frame& operator[](int32_t stack) const { return frames_[static_cast<size_t>(stack) - 1]; }
  size_t size() const { return frames_.size(); }
  void shrink(size_t size);  // the newest ones go

 private:
  size_t slot_of(const Frame& f) const;
  void grow();
  std::vector<Frame> frames_;
  std::vector<int32_t> table_;  // open addressing: a stack, or 0
};

struct Position {
  int32_t node = 0, stack = 0;
  bool operator==(const Position&) const = default;
};

// All positions that a text may be at. They have bytes to go on with; `ended`: the text may end
// here (where the stack that the walk began with runs out).
struct Positions {
  std::vector<Position> at;
  bool ended = false;
};

// Adds what is reached without a byte. Error when the grammar is too ambiguous.
void close(const Grammar& grammar, Frames& frames, std::vector<Position>& from, Positions& out);

}  // namespace tokamak::guide
