// The vocabulary as a tree of bytes, laid out in the order of a walk.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace tokamak::guide {

class TokenTrie {
 public:
  // bytes[id]: what the token adds to a text; tokens without bytes are left out.
  explicit TokenTrie(std::span<const std::string> bytes);

  struct Node {
    uint8_t byte = 0;
    uint16_t depth = 0;     // of the byte in the token
    int32_t skip = 0;       // the first node that is not below this one
    int32_t tokens = 0;     // where the ids of the tokens that end here begin …
    int32_t token_end = 0;  // … and end
  };
  std::span<const Node> nodes() const { return nodes_; }
  std::span<const int32_t> tokens_at(const Node& n) const {
    return {ids_.data() + n.tokens, static_cast<size_t>(n.token_end - n.tokens)};
  }
  size_t longest() const { return longest_; }  // bytes of a token

 private:
  std::vector<Node> nodes_;
  std::vector<int32_t> ids_;  // in the order of their bytes
  size_t longest_ = 0;
};

}  // namespace tokamak::guide
