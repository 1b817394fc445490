#include "guide/mask_classes.h"

#include <algorithm>
#include <numeric>
#include <span>
#include <unordered_map>
#include <utility>

namespace tokamak::guide {
namespace {

constexpr size_t kWorthIt = 256;  // nodes; fewer ones have masks of their own

using Classes = std::vector<int32_t>;

// 128 bits: two things that differ have one fingerprint about never.
struct Print {
  uint64_t a = 0x9E3779B97F4A7C15u, b = 0xC2B2AE3D27D4EB4Fu;
  void add(int32_t n) {
    a = (a ^ static_cast<uint32_t>(n)) * 0xBF58476D1CE4E5B9u;
    a ^= a >> 29;
    b = (b + static_cast<uint32_t>(n) + 1) * 0x94D049BB133111EBu;
    b ^= b >> 31;
  }
  bool operator==(const Print&) const = default;
};
struct Hash {
  size_t operator()(const Print& p) const { return p.a ^ p.b; }
};

// Equal fingerprints, equal numbers. How many there are.
int32_t number(const std::vector<Print>& prints, Classes& classes) {
  std::unordered_map<Print, int32_t, Hash> ids;
  for (size_t i = 0; i < prints.size(); ++i)
    classes[i] = ids.try_emplace(prints[i], static_cast<int32_t>(ids.size())).first->second;
  return static_cast<int32_t>(ids.size());
}

// Bytes from each node to the end of its rule, at least; `most` when there are more.
std::vector<int32_t> bytes_to_end(const Grammar& grammar, int32_t most) {
  std::vector<int32_t> left(grammar.size(), most);
  const auto at = [&](int32_t node) { return left[static_cast<size_t>(node)]; };
  for (bool changed = true; changed;) {
    changed = false;
    for (auto node = static_cast<int32_t>(grammar.size()) - 1; node >= 0; --node) {
      int32_t least = grammar.ends_rule(node) ? 0 : most;
      for (const int32_t to : grammar.row(node))
        if (to >= 0) least = std::min(least, 1 + at(to));
      for (const Grammar::Call& c : grammar.calls(node))
        least = std::min(least, at(c.start) + (c.tail ? 0 : at(c.back)));
      if (least >= at(node)) continue;
      left[static_cast<size_t>(node)] = least;
      changed = true;
    }
  }
  return left;
}

// The nodes that bytes lead to from each node, each once; which bytes lead where is in `own`.
struct Targets {
  std::vector<int32_t> nodes;
  std::vector<size_t> begin = {0};
  std::span<const int32_t> of(size_t node) const {
    return std::span(nodes).subspan(begin[node], begin[node + 1] - begin[node]);
  }
};

Targets targets_of(const Grammar& grammar, std::vector<Print>& own) {
  Targets targets;
  for (size_t i = 0; i < grammar.size(); ++i) {
    const size_t first = targets.nodes.size();
    for (const int32_t to : grammar.row(static_cast<int32_t>(i))) {
      const auto known = std::find(targets.nodes.begin() + static_cast<std::ptrdiff_t>(first),
                                   targets.nodes.end(), to);
      own[i].add(to < 0 ? -1 : static_cast<int32_t>(known - targets.nodes.begin() - first));
      if (to >= 0 && known == targets.nodes.end()) targets.nodes.push_back(to);
    }
    targets.begin.push_back(targets.nodes.size());
  }
  return targets;
}

// Of each node what it has without its bytes' targets.
std::vector<Print> own_prints(const Grammar& grammar, int32_t bytes) {
  const std::vector<int32_t> left = bytes_to_end(grammar, bytes);
  std::vector<Print> own(grammar.size());
  for (size_t i = 0; i < own.size(); ++i) {
    const auto node = static_cast<int32_t>(i);
    own[i].add(grammar.ends_rule(node));
    own[i].add(grammar.has_bytes(node));
    for (const Grammar::Call& c : grammar.calls(node)) {
      own[i].add(c.start);
      // Where a rule that is too long returns to does not matter.
      own[i].add(c.tail ? -1 : left[static_cast<size_t>(c.start)] >= bytes ? -2 : c.back);
    }
  }
  return own;
}

}  // namespace

std::vector<int32_t> mask_classes(const Grammar& grammar, int32_t bytes) {
  Classes classes(grammar.size());
  if (grammar.size() < kWorthIt) {
    std::iota(classes.begin(), classes.end(), 0);
    return classes;
  }
  std::vector<Print> own = own_prints(grammar, bytes);
  const Targets targets = targets_of(grammar, own);
  int32_t known = number(own, classes);
  for (int32_t step = 0; step < bytes; ++step) {
    std::vector<Print> prints = own;
    for (size_t i = 0; i < prints.size(); ++i)
      for (const int32_t to : targets.of(i)) prints[i].add(classes[static_cast<size_t>(to)]);
    const int32_t now = number(prints, classes);
    if (std::exchange(known, now) == now) break;
  }
  Classes first(static_cast<size_t>(known), -1);
  for (size_t i = 0; i < classes.size(); ++i) {
    int32_t& f = first[static_cast<size_t>(classes[i])];
    if (f < 0) f = static_cast<int32_t>(i);
    classes[i] = f;
  }
  return classes;
}

}  // namespace tokamak::guide
