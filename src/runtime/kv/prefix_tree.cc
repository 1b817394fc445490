#include "runtime/kv/prefix_tree.h"

#include <algorithm>

#include "base/error.h"

namespace tokamak {

// FNV-1a over whole words; keys are compared in full, so a collision costs time only.
size_t PrefixTree::Hash::operator()(const Key& k) const {
  uint64_t h = 0xcbf29ce484222325u;
  const auto mix = [&h](uint64_t v) { h = (h ^ v) * 0x100000001b3u ^ h >> 29; };
  mix(static_cast<uint64_t>(k.parent));
  mix(k.scope.salt);
  mix(k.scope.owner);
  for (const int32_t t : k.tokens) mix(static_cast<uint32_t>(t));
  return h;
}

PrefixTree::Key PrefixTree::key_of(Id parent, PrefixScope scope, std::span<const int32_t> tokens,
                                   size_t block) const {
  const auto size = static_cast<size_t>(block_size_);
  const auto part = tokens.subspan(block * size, size);
  return {parent, parent < 0 ? scope : PrefixScope(), {part.begin(), part.end()}};
}

template <typename Change>
void PrefixTree::change(Id id, Change&& f) {
  leaves_.erase(place(id));
  host_leaves_.erase(place(id));
  Node& n = nodes_.at(id);
  f(n);
  if (is_leaf(n)) leaves_.insert(place(id));
  if (is_host_leaf(n)) host_leaves_.insert(place(id));
}

void PrefixTree::touch(Id id, int32_t priority) {
  change(id, [&](Node& n) {
    n.used = ++clock_;
    n.priority = std::max(n.priority, priority);
  });
}

// The node is on the device from now on; the reference is the tree's.
void PrefixTree::give_block(Id id, int32_t block) {
  ++device_blocks_;
  change(id, [&](Node& n) {
    TOKAMAK_ASSERT(n.block < 0);
    n.block = block;
    if (n.host >= 0) host_.release(std::exchange(n.host, -1));
  });
  const Id parent = nodes_.at(id).key->parent;
  if (parent >= 0) change(parent, [](Node& n) { ++n.on_device; });
}

// It is there no more; the reference is the caller's.
int32_t PrefixTree::take_block(Id id) {
  --device_blocks_;
  int32_t block = -1;
  change(id, [&](Node& n) { block = std::exchange(n.block, -1); });
  const Id parent = nodes_.at(id).key->parent;
  if (parent >= 0) change(parent, [](Node& n) { --n.on_device; });
  return block;
}

bool PrefixTree::bring_back(Id id, Copies& copies) {
  host_leaves_.erase(place(id));  // making room must not drop this one
  if (pool_.free_blocks() == 0) evict(1, copies);
  const std::optional<int32_t> block = pool_.allocate();
  if (block) {
    copies.push_back({KvCopy::from_host, nodes_.at(id).host, *block});
    give_block(id, *block);
    ++from_host_;
  } else {
    change(id, [](Node&) {});
  }
  return block.has_value();
}

std::vector<int32_t> PrefixTree::match(std::span<const int32_t> tokens, PrefixScope scope,
                                       Copies& copies) {
  std::vector<int32_t> blocks;
  Id at = -1;
  for (size_t b = 0; b < tokens.size() / static_cast<size_t>(block_size_); ++b) {
    const auto found = children_.find(key_of(at, scope, tokens, b));
    if (found == children_.end()) break;
    at = found->second;
    touch(at, 0);
    if (nodes_.at(at).block < 0 && !bring_back(at, copies)) break;
    blocks.push_back(nodes_.at(at).block);
    pool_.retain(blocks.back());
  }
  return blocks;
}

int64_t PrefixTree::matching_tokens(std::span<const int32_t> tokens, PrefixScope scope) const {
  Id at = -1;
  size_t b = 0;
  for (; b < tokens.size() / static_cast<size_t>(block_size_); ++b) {
    const auto found = children_.find(key_of(at, scope, tokens, b));
    if (found == children_.end()) break;
    at = found->second;
  }
  return static_cast<int64_t>(b) * block_size_;
}

std::vector<int32_t> PrefixTree::insert(std::span<const int32_t> tokens,
                                        std::span<const int32_t> blocks, PrefixScope scope,
                                        int32_t priority) {
  TOKAMAK_ASSERT(blocks.size() * static_cast<size_t>(block_size_) <= tokens.size());
  std::vector<int32_t> mine;
  Id at = -1;
  for (size_t b = 0; b < blocks.size(); ++b) {
    const auto [found, added] = children_.try_emplace(key_of(at, scope, tokens, b), next_);
    const Id id = found->second;
    if (added) {
      ++next_;
      nodes_[id].key = &found->first;
      if (at >= 0) change(at, [](Node& n) { ++n.children; });
    }
    touch(id, priority);
    if (nodes_.at(id).block < 0) {
      pool_.retain(blocks[b]);
      give_block(id, blocks[b]);
    }
    at = id;
    mine.push_back(nodes_.at(at).block);
  }
  return mine;
}

// A node that nothing follows.
void PrefixTree::remove(Id id) {
  TOKAMAK_ASSERT(nodes_.at(id).children == 0);
  if (nodes_.at(id).block >= 0) pool_.release(take_block(id));
  const Node node = nodes_.at(id);
  if (node.host >= 0) host_.release(node.host);
  leaves_.erase(place(id));
  host_leaves_.erase(place(id));
  const Id parent = node.key->parent;
  nodes_.erase(id);
  children_.erase(children_.find(*node.key));
  if (parent >= 0) change(parent, [](Node& n) { --n.children; });
}

// False when host memory has no room for it: what was used longest ago goes first, and for good.
bool PrefixTree::move_to_host(Id id, Copies& copies) {
  if (host_.size() == 0) return false;
  if (host_.free_blocks() == 0) {
    if (host_leaves_.empty()) return false;
    remove(std::get<2>(*host_leaves_.begin()));
  }
  const int32_t slot = *host_.allocate();
  copies.push_back({KvCopy::to_host, nodes_.at(id).block, slot});
  nodes_.at(id).host = slot;
  pool_.release(take_block(id));
  ++to_host_;
  return true;
}

int32_t PrefixTree::evict(int32_t n, Copies& copies) {
  int32_t freed = 0;
  for (auto it = leaves_.begin(); it != leaves_.end() && freed < n;) {
    const Place here = *it;
    const Id id = std::get<2>(here);
    if (pool_.references(nodes_.at(id).block) > 1) {
      ++it;
      continue;
    }
    const Id parent = nodes_.at(id).key->parent;
    if (!move_to_host(id, copies)) {
      if (nodes_.at(id).children > 0) {  // in host memory, and wanted there just now
        ++it;
        continue;
      }
      remove(id);
    }
    ++freed;
    // A parent was used before its child: it may stand further ahead, and comes next.
    const bool leads = parent >= 0 && is_leaf(nodes_.at(parent));
    it = leads ? leaves_.lower_bound(std::min(here, place(parent))) : leaves_.upper_bound(here);
  }
  return freed;
}

int32_t PrefixTree::evictable() const {
  return static_cast<int32_t>(std::ranges::count_if(nodes_, [this](const auto& n) {
    return n.second.block >= 0 && pool_.references(n.second.block) == 1;
  }));
}

void PrefixTree::forget(uint64_t owner) {
  std::vector<Id> path;
  for (const auto& [id, n] : nodes_) {
    if (n.children > 0) continue;
    Id root = id;
    while (nodes_.at(root).key->parent >= 0) root = nodes_.at(root).key->parent;
    if (nodes_.at(root).key->scope.owner == owner) path.push_back(id);
  }
  for (Id at : path) {
    while (at >= 0 && nodes_.at(at).children == 0) {
      const Id parent = nodes_.at(at).key->parent;
      remove(at);
      at = parent;
    }
  }
}

void PrefixTree::clear() {
  while (!host_leaves_.empty()) remove(std::get<2>(*host_leaves_.begin()));
  while (!leaves_.empty()) remove(std::get<2>(*leaves_.begin()));
  TOKAMAK_ASSERT(nodes_.empty());
}

}  // namespace tokamak
