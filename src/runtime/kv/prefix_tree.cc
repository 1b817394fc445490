#include "runtime/kv/prefix_tree.h"

#include <algorithm>

#include "base/error.h"

namespace tokamak {

// FNV-1a over whole words; keys are compared in full, so a collision costs time only.
size_t PrefixTree::Hash::operator()(const Key& k) const {
  uint64_t h = 0xcbf29ce484222325u;
  const auto mix = [&h](uint64_t v) { h = (h ^ v) * 0x100000001b3u ^ h >> 29; };
  mix(static_cast<uint64_t>(k.parent));
  mix(k.salt);
  for (const int32_t t : k.tokens) mix(static_cast<uint32_t>(t));
  return h;
}

PrefixTree::Key PrefixTree::key_of(Id parent, uint64_t salt, std::span<const int32_t> tokens,
                                   size_t block) const {
  const auto size = static_cast<size_t>(block_size_);
  const auto part = tokens.subspan(block * size, size);
  return {parent, parent < 0 ? salt : 0, {part.begin(), part.end()}};
}

void PrefixTree::touch(Id id, int32_t priority) {
  Node& n = nodes_.at(id);
  const bool leaf = leaves_.erase(place(id)) > 0;
  n.used = ++clock_;
  n.priority = std::max(n.priority, priority);
  if (leaf) leaves_.insert(place(id));
}

std::vector<int32_t> PrefixTree::match(std::span<const int32_t> tokens, uint64_t salt) {
  std::vector<int32_t> blocks;
  Id at = -1;
  for (size_t b = 0; b < tokens.size() / static_cast<size_t>(block_size_); ++b) {
    const auto found = children_.find(key_of(at, salt, tokens, b));
    if (found == children_.end()) break;
    at = found->second;
    touch(at, 0);
    blocks.push_back(nodes_.at(at).block);
    pool_.retain(blocks.back());
  }
  return blocks;
}

int64_t PrefixTree::matching_tokens(std::span<const int32_t> tokens, uint64_t salt) const {
  Id at = -1;
  size_t b = 0;
  for (; b < tokens.size() / static_cast<size_t>(block_size_); ++b) {
    const auto found = children_.find(key_of(at, salt, tokens, b));
    if (found == children_.end()) break;
    at = found->second;
  }
  return static_cast<int64_t>(b) * block_size_;
}

std::vector<int32_t> PrefixTree::insert(std::span<const int32_t> tokens,
                                        std::span<const int32_t> blocks, uint64_t salt,
                                        int32_t priority) {
  TOKAMAK_ASSERT(blocks.size() * static_cast<size_t>(block_size_) <= tokens.size());
  std::vector<int32_t> mine;
  Id at = -1;
  for (size_t b = 0; b < blocks.size(); ++b) {
    const auto [found, added] = children_.try_emplace(key_of(at, salt, tokens, b), next_);
    if (added) {
      pool_.retain(blocks[b]);
      nodes_[next_] = {&found->first, blocks[b], 0, priority, ++clock_};
      leaves_.insert(place(next_));
      if (at >= 0 && nodes_.at(at).children++ == 0) leaves_.erase(place(at));
      ++next_;
    } else {
      touch(found->second, priority);
    }
    at = found->second;
    mine.push_back(nodes_.at(at).block);
  }
  return mine;
}

PrefixTree::Id PrefixTree::remove(Id id) {
  const Node node = nodes_.at(id);
  TOKAMAK_ASSERT(node.children == 0);
  const Id parent = node.key->parent;
  leaves_.erase(place(id));
  nodes_.erase(id);
  children_.erase(children_.find(*node.key));
  pool_.release(node.block);
  if (parent < 0 || --nodes_.at(parent).children > 0) return -1;
  leaves_.insert(place(parent));
  return parent;
}

int32_t PrefixTree::evict(int32_t n) {
  int32_t freed = 0;
  for (auto it = leaves_.begin(); it != leaves_.end() && freed < n;) {
    const Place here = *it;
    const Id id = std::get<2>(here);
    if (pool_.references(nodes_.at(id).block) > 1) {
      ++it;
      continue;
    }
    const Id parent = remove(id);
    ++freed;
    // A parent was used before its child: it stands further ahead, and comes next.
    it =
        parent < 0 ? leaves_.upper_bound(here) : leaves_.lower_bound(std::min(here, place(parent)));
  }
  return freed;
}

int32_t PrefixTree::evictable() const {
  return static_cast<int32_t>(std::ranges::count_if(
      nodes_, [this](const auto& n) { return pool_.references(n.second.block) == 1; }));
}

void PrefixTree::clear() {
  while (!leaves_.empty()) remove(std::get<2>(*leaves_.begin()));
}

}  // namespace tokamak
