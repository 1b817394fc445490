#include "guide/token_trie.h"

#include <algorithm>

#include "base/error.h"

namespace tokamak::guide {
namespace {

constexpr size_t kLongestToken = 60'000;  // depths have 16 bits

}  // namespace

TokenTrie::TokenTrie(std::span<const std::string> bytes) {
  for (size_t id = 0; id < bytes.size(); ++id)
    if (!bytes[id].empty() && bytes[id].size() <= kLongestToken)
      ids_.push_back(static_cast<int32_t>(id));
  const auto text = [&](int32_t id) -> const std::string& {
    return bytes[static_cast<size_t>(id)];
  };
  std::ranges::sort(ids_, [&](int32_t a, int32_t b) {
    const int order = text(a).compare(text(b));
    return order != 0 ? order < 0 : a < b;
  });
  std::vector<int32_t> path;  // the nodes of the last token
  const std::string* last = nullptr;
  for (size_t i = 0; i < ids_.size(); ++i) {
    const std::string& t = text(ids_[i]);
    size_t common = 0;
    if (last)
      while (common < last->size() && common < t.size() && (*last)[common] == t[common]) ++common;
    for (size_t k = common; k < path.size(); ++k)
      nodes_[static_cast<size_t>(path[k])].skip = static_cast<int32_t>(nodes_.size());
    path.resize(common);
    for (size_t k = common; k < t.size(); ++k) {
      path.push_back(static_cast<int32_t>(nodes_.size()));
      nodes_.push_back({static_cast<uint8_t>(t[k]), static_cast<uint16_t>(k), 0,
                        static_cast<int32_t>(i), static_cast<int32_t>(i)});
    }
    nodes_[static_cast<size_t>(path.back())].token_end = static_cast<int32_t>(i) + 1;
    longest_ = std::max(longest_, t.size());
    last = &t;
  }
  for (const int32_t n : path)
    nodes_[static_cast<size_t>(n)].skip = static_cast<int32_t>(nodes_.size());
}

}  // namespace tokamak::guide
