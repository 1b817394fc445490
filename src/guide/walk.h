// A walk over the tokens of a tree, hand in hand with the positions of a grammar.
#pragma once
#include <vector>

#include "guide/matcher.h"
#include "guide/token_trie.h"

namespace tokamak::guide {

// The positions behind a byte; false when there are none. `scratch` is the caller's memory.
bool step(const Grammar& grammar, Frames& frames, std::span<const Position> at, uint8_t byte,
          std::vector<Position>& scratch, Positions& out);

class TokenWalk {
 public:
  TokenWalk(const Grammar& grammar, const TokenTrie& trie, Frames& frames)
      : grammar_(grammar), trie_(trie), frames_(frames) {}

  // The trie's nodes from `begin` to `end`, siblings and what is below them. Calls accept(node) for
  // nodes whose bytes match, ended(index) where `start`'s stack has run out.
  template <typename Accept, typename Ended>
  void run(int32_t begin, int32_t end, std::span<const Position> start, Accept accept,
           Ended ended) {
    if (begin >= end) return;
    const std::span<const TokenTrie::Node> nodes = trie_.nodes();
    const int base = nodes[static_cast<size_t>(begin)].depth;
    levels_.resize(trie_.longest() + 1);
    set(levels_[0], start, frames_.size());
    for (int32_t i = begin; i < end;) {
      const TokenTrie::Node& n = nodes[static_cast<size_t>(i)];
      const auto depth = static_cast<size_t>(n.depth - base);
      const Level& at = levels_[depth];
      Level& to = levels_[depth + 1];
      if (at.single) {
        const int32_t next = grammar_.next(at.only.node, n.byte);
        if (next < 0) {
          i = n.skip;
          continue;
        }
        if (grammar_.plain(next)) {
          to.single = true;
          to.only = {next, at.only.stack};
          to.frames = at.frames;
          accept(n);
          ++i;
          continue;
        }
      }
      frames_.shrink(at.frames);
      const std::span<const Position> here =
          at.single ? std::span(&at.only, 1) : std::span<const Position>(at.positions);
      if (!step(grammar_, frames_, here, n.byte, scratch_, behind_)) {
        i = n.skip;
        continue;
      }
      accept(n);
      if (behind_.ended) ended(i);
      set(to, behind_.at, frames_.size());
      i = behind_.at.empty() ? n.skip : i + 1;
    }
    frames_.shrink(levels_[0].frames);
  }

 private:
  struct Level {
    bool single = false;
    Position only;
    std::vector<Position> positions;  // unless single
    size_t frames = 0;
  };
  static void set(Level& level, std::span<const Position> positions, size_t frames) {
    level.single = positions.size() == 1;
    if (level.single)
      level.only = positions[0];
    else
      level.positions.assign(positions.begin(), positions.end());
    level.frames = frames;
  }

  const Grammar& grammar_;
  const TokenTrie& trie_;
  Frames& frames_;
  std::vector<Level> levels_;
  std::vector<Position> scratch_;
  Positions behind_;
};

}  // namespace tokamak::guide
