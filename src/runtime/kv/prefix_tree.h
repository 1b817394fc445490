// Which full KV blocks hold which tokens, so that requests that begin alike share them. A tree over
// blocks: a node is a block and the tokens in it, its path from the root is all that came before.
// The tree holds one reference on each of its blocks. Blocks that must go are moved to blocks of
// host memory, where there are any, and come back when they match. No tensors here: what is to be
// copied is written down. Source: RadixAttention (arXiv 2312.07104), at the granularity of blocks
// (arXiv 2309.06180).
#pragma once
#include <cstdint>
#include <set>
#include <span>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "runtime/kv/block_pool.h"
#include "runtime/kv/kv_copy.h"

namespace tokamak {

// Who shares blocks: requests of one salt; and none but the owner, unless that is 0.
struct PrefixScope {
  PrefixScope(uint64_t salt = 0, uint64_t owner = 0) : salt(salt), owner(owner) {}
  uint64_t salt, owner;
  bool operator==(const PrefixScope&) const = default;
};

class PrefixTree {
 public:
  using Copies = std::vector<KvCopy>;

  PrefixTree(BlockPool& pool, int32_t block_size, int32_t host_blocks = 0)
      : pool_(pool), host_(host_blocks), block_size_(block_size) {}
  ~PrefixTree() { clear(); }
  PrefixTree(const PrefixTree&) = delete;

  // The cached blocks that `tokens` begins with; each gets a reference that the caller owns. Those
  // in host memory are brought back as long as there is room, or room can be made.
  std::vector<int32_t> match(std::span<const int32_t> tokens, PrefixScope scope, Copies& copies);
  // The number of tokens that match() would find.
  int64_t matching_tokens(std::span<const int32_t> tokens, PrefixScope scope) const;
  // Makes a sequence's full blocks shareable: block i holds tokens [i * block_size, …). Returns the
  // tree's blocks for these tokens: another one where it has them already, which the sequence must
  // use from now on. Blocks of a higher priority are kept longer.
  std::vector<int32_t> insert(std::span<const int32_t> tokens, std::span<const int32_t> blocks,
                              PrefixScope scope, int32_t priority = 0);
  // Gives up to n blocks that nobody else uses back to the pool, leaves first: lowest priority,
  // then longest unused. Returns how many.
  int32_t evict(int32_t n, Copies& copies);
  // Drops what only this owner shared.
  void forget(uint64_t owner);
  void clear();

  int32_t blocks() const { return device_blocks_; }
  int32_t host_blocks() const { return host_.used_blocks(); }
  // Blocks that evict() could free: nobody else uses them, and so nobody what follows them.
  int32_t evictable() const;
  int64_t blocks_to_host() const { return to_host_; }  // since the start
  int64_t blocks_from_host() const { return from_host_; }

 private:
  using Id = int64_t;
  struct Key {
    Id parent;  // -1: a root
    PrefixScope scope;
    std::vector<int32_t> tokens;
    bool operator==(const Key&) const = default;
  };
  struct Hash {
    size_t operator()(const Key& k) const;
  };
  struct Node {
    const Key* key = nullptr;             // the map's
    int32_t block = -1, host = -1;        // one of them
    int32_t children = 0, on_device = 0;  // children, and those of them that are on the device
    int32_t priority = 0;
    uint64_t used = 0;
  };
  using Place = std::tuple<int32_t, uint64_t, Id>;  // in the order of eviction

  Key key_of(Id parent, PrefixScope scope, std::span<const int32_t> tokens, size_t block) const;
  Place place(Id id) const { return {nodes_.at(id).priority, nodes_.at(id).used, id}; }
  bool is_leaf(const Node& n) const { return n.block >= 0 && n.on_device == 0; }
  bool is_host_leaf(const Node& n) const { return n.block < 0 && n.children == 0; }
  // Changes a node, and keeps its place among the leaves.
  template <typename Change>
  void change(Id id, Change&& f);
  void touch(Id id, int32_t priority);
  void give_block(Id id, int32_t block);
  int32_t take_block(Id id);
  bool bring_back(Id id, Copies& copies);
  bool move_to_host(Id id, Copies& copies);
  void remove(Id id);

  BlockPool& pool_;
  BlockPool host_;
  int32_t block_size_, device_blocks_ = 0;
  Id next_ = 0;
  uint64_t clock_ = 0;
  int64_t to_host_ = 0, from_host_ = 0;
  std::unordered_map<Key, Id, Hash> children_;
  std::unordered_map<Id, Node> nodes_;
  // On the device, nothing behind them there; and in host memory, nothing behind them at all.
  std::set<Place> leaves_, host_leaves_;
};

}  // namespace tokamak
