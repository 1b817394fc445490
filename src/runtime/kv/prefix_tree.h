// Which full KV blocks hold which tokens, so that requests that begin alike share them. A tree over
// blocks: a node is a block and the tokens in it, its path from the root is all that came before.
// The tree holds one reference on each of its blocks. No tensors here. Source: RadixAttention
// (arXiv 2312.07104), at the granularity of blocks (arXiv 2309.06180).
#pragma once
#include <cstdint>
#include <set>
#include <span>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "runtime/kv/block_pool.h"

namespace tokamak {

class PrefixTree {
 public:
  PrefixTree(BlockPool& pool, int32_t block_size) : pool_(pool), block_size_(block_size) {}
  ~PrefixTree() { clear(); }
  PrefixTree(const PrefixTree&) = delete;

  // The cached blocks that `tokens` begins with; each gets a reference that the caller owns.
  // Requests of other salts share nothing.
  std::vector<int32_t> match(std::span<const int32_t> tokens, uint64_t salt);
  // The number of tokens that match() would find.
  int64_t matching_tokens(std::span<const int32_t> tokens, uint64_t salt) const;
  // Makes a sequence's full blocks shareable: block i holds tokens [i * block_size, …). Returns the
  // tree's blocks for these tokens: another one where it has them already, which the sequence must
  // use from now on. Blocks of a higher priority are kept longer.
  std::vector<int32_t> insert(std::span<const int32_t> tokens, std::span<const int32_t> blocks,
                              uint64_t salt, int32_t priority = 0);
  // Gives up to n blocks that nobody else uses back to the pool, leaves first: lowest priority,
  // then longest unused. Returns how many.
  int32_t evict(int32_t n);
  void clear();

  int32_t blocks() const { return static_cast<int32_t>(nodes_.size()); }
  // Blocks that evict() could free: nobody else uses them, and so nobody what follows them.
  int32_t evictable() const;

 private:
  using Id = int64_t;
  struct Key {
    Id parent;  // -1: a root
    uint64_t salt;
    std::vector<int32_t> tokens;
    bool operator==(const Key&) const = default;
  };
  struct Hash {
    size_t operator()(const Key& k) const;
  };
  struct Node {
    const Key* key = nullptr;  // the map's
    int32_t block = -1, children = 0, priority = 0;
    uint64_t used = 0;
  };
  using Place = std::tuple<int32_t, uint64_t, Id>;  // in the order of eviction

  Key key_of(Id parent, uint64_t salt, std::span<const int32_t> tokens, size_t block) const;
  Place place(Id id) const { return {nodes_.at(id).priority, nodes_.at(id).used, id}; }
  void touch(Id id, int32_t priority);
  Id remove(Id id);  // its parent when that is a leaf now, else -1

  BlockPool& pool_;
  int32_t block_size_;
  Id next_ = 0;
  uint64_t clock_ = 0;
  std::unordered_map<Key, Id, Hash> children_;
  std::unordered_map<Id, Node> nodes_;
  std::set<Place> leaves_;
};

}  // namespace tokamak
