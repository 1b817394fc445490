// A grammar as the matcher runs it: the automata of all rules in one table.
#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "guide/automaton.h"
#include "guide/expr.h"

namespace tokamak::guide {

class Grammar {
 public:
  // Error: a rule that begins with itself, a grammar that nothing matches or that is too large.
  explicit Grammar(Rules rules);

  int32_t start() const { return root_; }
  size_t size() const { return nodes_.size(); }
  // The node behind a byte, or -1.
  int32_t next(int32_t node, uint8_t byte) const {
    return next_[static_cast<size_t>(node) * classes_ + class_of_[byte]];
  }
  // The same for each class of bytes that it does not tell apart.
  std::span<const int32_t> row(int32_t node) const {
    return std::span(next_).subspan(static_cast<size_t>(node) * classes_, classes_);
  }
  // Bytes are all that a node has: no calls, and no rule ends here.
  bool plain(int32_t node) const { return nodes_[static_cast<size_t>(node)].plain; }
  bool ends_rule(int32_t node) const { return nodes_[static_cast<size_t>(node)].final; }
  bool has_bytes(int32_t node) const { return nodes_[static_cast<size_t>(node)].bytes; }
  struct Call {
    int32_t start = 0;  // of the rule
    int32_t back = 0;   // where to go on
    bool tail = false;  // the caller's rule ends there and nothing else can follow
  };
  std::span<const Call> calls(int32_t node) const {
    const Node& n = nodes_[static_cast<size_t>(node)];
    return {calls_.data() + n.first_call, n.call_count};
  }

 private:
  struct Node {
    bool plain = false, final = false, bytes = false;
    uint32_t first_call = 0, call_count = 0;
  };
  void link(std::span<const Fsm> rules, int32_t root);
  void classify_bytes(std::span<const Fsm> rules);

  int32_t root_ = 0;
  std::vector<Node> nodes_;
  std::vector<Call> calls_;
  std::vector<int32_t> next_;  // [node][class of the byte]
  std::array<uint8_t, 256> class_of_{};
  size_t classes_ = 0;
};

}  // namespace tokamak::guide
