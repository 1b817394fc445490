// A compiled grammar and its walk over tokens. A Guide is immutable to its users and shared by
// requests and threads; each request holds a GuideState.
#pragma once
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "guide/grammar.h"
#include "guide/matcher.h"
#include "guide/token_trie.h"

namespace tokamak {

namespace guide {
class TokenWalk;
}

// What a guide has to know about a tokenizer.
struct GuideVocabulary {
  // inside[id]: what the token adds to a text; empty: never to be chosen (special tokens).
  // first[id]: the same where the text begins; an empty vector: no difference.
  GuideVocabulary(std::vector<std::string> inside, std::vector<std::string> first);

  std::vector<std::string> inside, first;
  // Of `inside` the tokens of at most short_bytes, and the few longer ones.
  int32_t short_bytes;
  guide::TokenTrie short_trie, long_trie, first_trie;
  size_t size() const { return inside.size(); }
};

// Tokens that may come next.
class TokenMask {
 public:
  TokenMask(std::vector<uint64_t> bits, size_t vocab);
  int64_t count() const { return count_; }
  size_t bytes() const { return 8 * bits_.size() + 4 * ids_.size(); }
  bool allows(int32_t id) const;
  std::vector<int32_t> ids() const;
  void add_to(std::span<uint64_t> bits) const;
  void apply(std::span<float> logits) const;  // all others become -inf

 private:
  std::vector<uint64_t> bits_;  // a bit for each id, or, where few are allowed,
  std::vector<int32_t> ids_;    // these alone, ascending
  int64_t count_ = 0;
  bool few_ = false;
};

class Guide {
 public:
  // Error: see Grammar.
  Guide(guide::Rules rules, std::shared_ptr<const GuideVocabulary> vocabulary);

 private:
  friend class GuideState;
  // From one node, whatever is below it on the stack: short tokens that stay within its rule, and
  // nodes of their tree where the rule has ended in the middle of tokens.
  struct NodeMask {
    std::shared_ptr<const TokenMask> mask;
    std::vector<int32_t> escapes;
  };
  using Bits = std::vector<uint64_t>;
  using Mask = std::shared_ptr<const TokenMask>;
  using Masks = std::unordered_map<std::string, Mask>;
  Mask mask_of(const guide::Positions& positions, const guide::Frames& frames, bool begun) const;
  std::shared_ptr<const NodeMask> node_mask(int32_t node) const;
  Mask short_mask(const guide::Positions& positions, const guide::Frames& frames) const;
  void walk_behind(guide::TokenWalk& walk, std::span<const int32_t> escapes,
                   std::span<const guide::Position> behind, Bits& bits) const;
  Mask with_long_tokens(Mask shorts, const guide::Positions& positions,
                        const guide::Frames& frames) const;
  Mask first_mask(const guide::Positions& positions, const guide::Frames& frames) const;
  template <typename Map>
  typename Map::mapped_type find(const Map& map, const typename Map::key_type& key) const;
  template <typename Map>
  typename Map::mapped_type keep(Map& map, typename Map::key_type key,
                                 typename Map::mapped_type made, size_t bytes) const;

  guide::Grammar grammar_;
  std::shared_ptr<const GuideVocabulary> vocabulary_;
  std::vector<int32_t> classes_;  // of nodes, which short tokens do not tell apart
  // Masks that were computed; all go when they take too much memory.
  mutable std::mutex mutex_;
  mutable std::unordered_map<int32_t, std::shared_ptr<const NodeMask>> nodes_;
  mutable Masks short_masks_, states_;
  mutable size_t cached_bytes_ = 0;
};

class GuideState {
 public:
  explicit GuideState(std::shared_ptr<const Guide> guide);

  // The text may end here.
  bool may_end() const { return positions_.ended; }
  // Nothing can follow.
  bool complete() const { return positions_.at.empty(); }
  std::shared_ptr<const TokenMask> mask() const;
  // False: the grammar does not allow it, and the state is as before.
  bool accept(int32_t token);
  bool accept_bytes(std::string_view bytes);

 private:
  void compact();
  std::shared_ptr<const Guide> guide_;
  guide::Frames frames_;
  guide::Positions positions_;
  bool begun_ = false;  // a token has been accepted
  size_t compact_at_;
};

}  // namespace tokamak
