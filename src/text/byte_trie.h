// A static trie over byte strings as a double array: prefix search touches 8 bytes a step.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tokamak {

class ByteTrie {
 public:
  ByteTrie() = default;
  // Keys may come in any order; of equal keys the last value counts. Empty keys are ignored.
  explicit ByteTrie(std::vector<std::pair<std::string_view, int32_t>> keys);

  bool empty() const { return nodes_.empty(); }

  static constexpr uint32_t kRoot = 0;
  // Moves `node` along byte c; false when there is no such child.
  bool step(uint32_t& node, unsigned char c) const {
    const uint32_t child = nodes_[node].base + c;
    if (child >= nodes_.size() || nodes_[child].parent != node) return false;
    node = child;
    return true;
  }
  int32_t value(uint32_t node) const { return values_[node]; }  // -1: no key ends here

  // The longest key that begins `text`: its length and value; {0, -1} when none does.
  std::pair<size_t, int32_t> longest_prefix(std::string_view text) const;

 private:
  struct Node {
    uint32_t base = 0;
    uint32_t parent = UINT32_MAX;  // UINT32_MAX: a free slot
  };
  std::vector<Node> nodes_;
  std::vector<int32_t> values_;
};

}  // namespace tokamak
