#include "text/byte_trie.h"

#include <algorithm>

#include "base/error.h"

namespace tokamak {
namespace {

struct Range {  // the keys [begin, end) share the path to `node`, which is `depth` bytes long
  uint32_t node;
  size_t begin, end, depth;
};

// Which nodes are taken.
struct Slots {
  std::vector<bool> used = std::vector<bool>(512);
  size_t first_free = 1;
  size_t top = 1;  // behind the last used slot

  Slots() { used[0] = true; }
  void take(size_t slot) {
    used[slot] = true;
    top = std::max(top, slot + 1);
  }
  // A base such that all children fall on free slots: looks at a few candidates, which are given up
  // when none fits, then goes behind the top.
  uint32_t find_base(const std::vector<unsigned char>& children) {
    while (first_free < top && used[first_free]) ++first_free;
    int tries = 0;
    size_t slot = std::max<size_t>(first_free, children.front() + size_t{1});
    for (; slot < top && tries < 40; ++slot) {
      if (used[slot]) continue;
      ++tries;
      const size_t base = slot - children.front();
      const bool fits = std::all_of(children.begin(), children.end(), [&](unsigned char c) {
        return base + c >= top || !used[base + c];
      });
      if (fits) return static_cast<uint32_t>(base);
    }
    if (tries == 40) first_free = slot;
    return static_cast<uint32_t>(top);
  }
};

}  // namespace

ByteTrie::ByteTrie(std::vector<std::pair<std::string_view, int32_t>> keys) {
  std::erase_if(keys, [](const auto& k) { return k.first.empty(); });
  if (keys.empty()) return;
  std::stable_sort(keys.begin(), keys.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });

  Slots slots;
  nodes_.resize(slots.used.size());
  values_.assign(slots.used.size(), -1);
  std::vector<Range> todo{{kRoot, 0, keys.size(), 0}};
  std::vector<unsigned char> children;
  std::vector<size_t> starts;
  while (!todo.empty()) {
    Range r = todo.back();
    todo.pop_back();
    for (; r.begin < r.end && keys[r.begin].first.size() == r.depth; ++r.begin)
      values_[r.node] = keys[r.begin].second;
    if (r.begin == r.end) continue;
    children.clear();
    starts.clear();
    for (size_t i = r.begin; i < r.end; ++i) {
      const auto c = static_cast<unsigned char>(keys[i].first[r.depth]);
      if (!children.empty() && children.back() == c) continue;
      children.push_back(c);
      starts.push_back(i);
    }
    starts.push_back(r.end);
    const uint32_t base = slots.find_base(children);
    if (base + size_t{256} > slots.used.size()) {
      const size_t size = std::max<size_t>(base + 256, slots.used.size() + slots.used.size() / 4);
      slots.used.resize(size);
      nodes_.resize(size);
      values_.resize(size, -1);
    }
    nodes_[r.node].base = base;
    for (size_t i = 0; i < children.size(); ++i) {
      const uint32_t child = base + children[i];
      slots.take(child);
      nodes_[child].parent = r.node;
      todo.push_back({child, starts[i], starts[i + 1], r.depth + 1});
    }
  }
}

std::pair<size_t, int32_t> ByteTrie::longest_prefix(std::string_view text) const {
  std::pair<size_t, int32_t> best{0, -1};
  if (nodes_.empty()) return best;
  uint32_t node = kRoot;
  for (size_t i = 0; i < text.size(); ++i) {
    if (!step(node, static_cast<unsigned char>(text[i]))) break;
    if (values_[node] >= 0) best = {i + 1, values_[node]};
  }
  return best;
}

}  // namespace tokamak
