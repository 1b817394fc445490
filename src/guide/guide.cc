#include "guide/guide.h"

#include <algorithm>
#include <array>
#include <bit>
#include <limits>

#include "base/error.h"
#include "guide/mask_classes.h"
#include "guide/walk.h"

namespace tokamak {
namespace {

using guide::Frames;
using guide::Position;
using guide::Positions;
using guide::TokenTrie;
using guide::TokenWalk;

constexpr float kMinusInf = -std::numeric_limits<float>::infinity();
constexpr size_t kMostCachedBytes = size_t{32} << 20;  // of one guide
constexpr size_t kCompactAt = 1024;                    // frames

void set_bits(std::vector<uint64_t>& bits, std::span<const int32_t> ids) {
  for (const int32_t id : ids) bits[static_cast<size_t>(id) / 64] |= uint64_t{1} << (id % 64);
}

std::vector<int32_t> ids_of(std::span<const uint64_t> bits) {
  std::vector<int32_t> ids;
  for (size_t w = 0; w < bits.size(); ++w)
    for (uint64_t left = bits[w]; left != 0; left &= left - 1)
      ids.push_back(static_cast<int32_t>(64 * w) + std::countr_zero(left));
  return ids;
}

void put(std::string& key, int32_t n) { key.append(reinterpret_cast<const char*>(&n), sizeof n); }

// A state as text: equal texts, equal masks.
std::string key_of(const Positions& positions, const Frames& frames, bool begun) {
  std::string key(1, begun ? 'b' : 'a');
  for (const Position& p : positions.at) {
    put(key, p.node);
    for (int32_t s = p.stack; s != 0; s = frames[s].below) put(key, frames[s].back);
    put(key, -1);
  }
  return key;
}

// The smallest size that few tokens exceed, below the blocks that long repetitions are cut into.
int32_t short_bytes_of(std::span<const std::string> tokens) {
  constexpr int32_t kMost = 31;
  std::vector<size_t> longer(kMost + 1);
  for (const std::string& t : tokens)
    for (size_t n = 0; n < std::min<size_t>(t.size(), longer.size()); ++n) ++longer[n];
  int32_t n = 8;
  while (n < kMost && longer[static_cast<size_t>(n)] > tokens.size() / 300) ++n;
  return n;
}

std::vector<std::string> of_size(std::span<const std::string> tokens, bool longs, int32_t limit) {
  std::vector<std::string> out(tokens.begin(), tokens.end());
  for (std::string& t : out)
    if ((t.size() > static_cast<size_t>(limit)) != longs) t.clear();
  return out;
}

}  // namespace

GuideVocabulary::GuideVocabulary(std::vector<std::string> i, std::vector<std::string> f)
    : inside(std::move(i)),
      first(std::move(f)),
      short_bytes(short_bytes_of(inside)),
      short_trie(of_size(inside, false, short_bytes)),
      long_trie(of_size(inside, true, short_bytes)),
      first_trie(first) {}

TokenMask::TokenMask(std::vector<uint64_t> bits, size_t vocab) {
  for (const uint64_t w : bits) count_ += std::popcount(w);
  few_ = static_cast<size_t>(count_) < vocab / 64;
  if (!few_) {
    bits_ = std::move(bits);
    return;
  }
  ids_ = ids_of(bits);
}

std::vector<int32_t> TokenMask::ids() const { return few_ ? ids_ : ids_of(bits_); }

bool TokenMask::allows(int32_t id) const {
  if (few_) return std::ranges::binary_search(ids_, id);
  const auto word = static_cast<size_t>(id) / 64;
  return word < bits_.size() && (bits_[word] >> (id % 64) & 1) != 0;
}

void TokenMask::add_to(std::span<uint64_t> bits) const {
  for (size_t w = 0; w < bits_.size(); ++w) bits[w] |= bits_[w];
  for (const int32_t id : ids_) bits[static_cast<size_t>(id) / 64] |= uint64_t{1} << (id % 64);
}

void TokenMask::apply(std::span<float> logits) const {
  if (few_) {
    std::vector<float> kept(ids_.size());
    for (size_t i = 0; i < ids_.size(); ++i) kept[i] = logits[static_cast<size_t>(ids_[i])];
    std::ranges::fill(logits, kMinusInf);
    for (size_t i = 0; i < ids_.size(); ++i) logits[static_cast<size_t>(ids_[i])] = kept[i];
    return;
  }
  for (size_t w = 0; 64 * w < logits.size(); ++w) {
    const uint64_t bits = w < bits_.size() ? bits_[w] : 0;
    const std::span<float> part =
        logits.subspan(64 * w, std::min<size_t>(64, logits.size() - 64 * w));
    if (bits == 0) {
      std::ranges::fill(part, kMinusInf);
      continue;
    }
    uint64_t off = ~bits;
    if (part.size() < 64) off &= (uint64_t{1} << part.size()) - 1;
    for (; off != 0; off &= off - 1) part[static_cast<size_t>(std::countr_zero(off))] = kMinusInf;
  }
}

Guide::Guide(guide::Rules rules, std::shared_ptr<const GuideVocabulary> vocabulary)
    : grammar_(std::move(rules)),
      vocabulary_(std::move(vocabulary)),
      classes_(guide::mask_classes(grammar_, vocabulary_->short_bytes)) {}

template <typename Map>
typename Map::mapped_type Guide::find(const Map& map, const typename Map::key_type& key) const {
  const std::lock_guard lock(mutex_);
  const auto it = map.find(key);
  return it == map.end() ? nullptr : it->second;
}

// What another thread has made meanwhile goes before.
template <typename Map>
typename Map::mapped_type Guide::keep(Map& map, typename Map::key_type key,
                                      typename Map::mapped_type made, size_t bytes) const {
  const std::lock_guard lock(mutex_);
  if (cached_bytes_ + bytes > kMostCachedBytes) {
    nodes_.clear();
    short_masks_.clear();
    states_.clear();
    cached_bytes_ = 0;
  }
  cached_bytes_ += bytes;
  return map.emplace(std::move(key), std::move(made)).first->second;
}

std::shared_ptr<const Guide::NodeMask> Guide::node_mask(int32_t node) const {
  node = classes_[static_cast<size_t>(node)];
  if (auto known = find(nodes_, node)) return known;
  const TokenTrie& trie = vocabulary_->short_trie;
  auto made = std::make_shared<NodeMask>();
  Bits bits((vocabulary_->size() + 63) / 64);
  Frames frames;
  const Position start{node, 0};
  TokenWalk(grammar_, trie, frames)
      .run(
          0, static_cast<int32_t>(trie.nodes().size()), std::span(&start, 1),
          [&](const TokenTrie::Node& n) { set_bits(bits, trie.tokens_at(n)); },
          [&](int32_t i) {
            if (trie.nodes()[static_cast<size_t>(i)].skip > i + 1) made->escapes.push_back(i);
          });
  made->mask = std::make_shared<TokenMask>(std::move(bits), vocabulary_->size());
  const size_t size = made->mask->bytes() + 4 * made->escapes.size() + 200;
  return keep(nodes_, node, std::move(made), size);
}

// Adds the tokens that go on in the middle, where their rule has ended, from these positions.
void Guide::walk_behind(TokenWalk& walk, std::span<const int32_t> escapes,
                        std::span<const Position> behind, Bits& bits) const {
  std::array<bool, 256> takes{};
  for (int byte = 0; byte < 256; ++byte)
    for (const Position& p : behind)
      takes[static_cast<size_t>(byte)] |= grammar_.next(p.node, static_cast<uint8_t>(byte)) >= 0;
  const TokenTrie& trie = vocabulary_->short_trie;
  const std::span<const TokenTrie::Node> nodes = trie.nodes();
  for (const int32_t e : escapes)
    for (int32_t i = e + 1, skip; i < nodes[static_cast<size_t>(e)].skip; i = skip) {
      skip = nodes[static_cast<size_t>(i)].skip;
      if (takes[nodes[static_cast<size_t>(i)].byte])
        walk.run(
            i, skip, behind, [&](const TokenTrie::Node& n) { set_bits(bits, trie.tokens_at(n)); },
            [](int32_t) {});
    }
}

// Of states whose nodes and frames are of the same classes it is the same; what is below a node
// that no token leaves does not matter.
Guide::Mask Guide::short_mask(const Positions& positions, const Frames& frames) const {
  std::vector<std::shared_ptr<const NodeMask>> within;
  std::string key;
  for (const Position& p : positions.at) {
    within.push_back(node_mask(p.node));
    put(key, classes_[static_cast<size_t>(p.node)]);
    if (within.back()->escapes.empty()) continue;
    for (int32_t s = p.stack; s != 0; s = frames[s].below)
      put(key, classes_[static_cast<size_t>(frames[s].back)]);
    put(key, -1);
  }
  const bool alone = within.size() == 1;
  if (alone && (positions.at[0].stack == 0 || within[0]->escapes.empty())) return within[0]->mask;
  if (auto known = find(short_masks_, key)) return known;
  const TokenTrie& trie = vocabulary_->short_trie;
  Bits bits((vocabulary_->size() + 63) / 64);
  Frames copy = frames;
  TokenWalk walk(grammar_, trie, copy);
  for (size_t i = 0; i < within.size(); ++i) {
    within[i]->mask->add_to(bits);
    const Position p = positions.at[i];
    if (p.stack == 0 || within[i]->escapes.empty()) continue;
    std::vector<Position> from = {{copy[p.stack].back, copy[p.stack].below}};
    Positions behind;
    close(grammar_, copy, from, behind);
    walk_behind(walk, within[i]->escapes, behind.at, bits);
  }
  auto mask = std::make_shared<const TokenMask>(std::move(bits), vocabulary_->size());
  const size_t size = mask->bytes() + key.size() + 200;
  return keep(short_masks_, std::move(key), std::move(mask), size);
}

Guide::Mask Guide::with_long_tokens(Mask shorts, const Positions& positions,
                                    const Frames& frames) const {
  const TokenTrie& trie = vocabulary_->long_trie;
  Bits bits;
  Frames copy = frames;
  TokenWalk(grammar_, trie, copy)
      .run(
          0, static_cast<int32_t>(trie.nodes().size()), positions.at,
          [&](const TokenTrie::Node& n) {
            const std::span<const int32_t> ids = trie.tokens_at(n);
            if (ids.empty()) return;
            bits.resize((vocabulary_->size() + 63) / 64);
            set_bits(bits, ids);
          },
          [](int32_t) {});
  if (bits.empty()) return shorts;
  shorts->add_to(bits);
  return std::make_shared<const TokenMask>(std::move(bits), vocabulary_->size());
}

Guide::Mask Guide::first_mask(const Positions& positions, const Frames& frames) const {
  const TokenTrie& trie = vocabulary_->first_trie;
  Bits bits((vocabulary_->size() + 63) / 64);
  Frames copy = frames;
  TokenWalk(grammar_, trie, copy)
      .run(
          0, static_cast<int32_t>(trie.nodes().size()), positions.at,
          [&](const TokenTrie::Node& n) { set_bits(bits, trie.tokens_at(n)); }, [](int32_t) {});
  return std::make_shared<const TokenMask>(std::move(bits), vocabulary_->size());
}

Guide::Mask Guide::mask_of(const Positions& positions, const Frames& frames, bool begun) const {
  const bool anew = !begun && !vocabulary_->first.empty();
  std::string key = key_of(positions, frames, !anew);
  if (Mask known = find(states_, key)) return known;
  const Mask shorts = anew ? nullptr : short_mask(positions, frames);
  Mask mask = anew ? first_mask(positions, frames) : with_long_tokens(shorts, positions, frames);
  const size_t size = (mask == shorts ? 0 : mask->bytes()) + key.size() + 200;
  return keep(states_, std::move(key), std::move(mask), size);
}

GuideState::GuideState(std::shared_ptr<const Guide> guide)
    : guide_(std::move(guide)), compact_at_(kCompactAt) {
  std::vector<Position> from = {{guide_->grammar_.start(), 0}};
  close(guide_->grammar_, frames_, from, positions_);
}

std::shared_ptr<const TokenMask> GuideState::mask() const {
  return guide_->mask_of(positions_, frames_, begun_);
}

bool GuideState::accept_bytes(std::string_view bytes) {
  Positions at = positions_, behind;
  std::vector<Position> scratch;
  for (const char c : bytes) {
    if (!step(guide_->grammar_, frames_, at.at, static_cast<uint8_t>(c), scratch, behind))
      return false;
    std::swap(at, behind);
  }
  positions_ = std::move(at);
  if (frames_.size() > compact_at_) compact();
  return true;
}

bool GuideState::accept(int32_t token) {
  const GuideVocabulary& v = *guide_->vocabulary_;
  if (token < 0 || static_cast<size_t>(token) >= v.size()) return false;
  const auto& texts = begun_ || v.first.empty() ? v.inside : v.first;
  const std::string& bytes = texts[static_cast<size_t>(token)];
  if (bytes.empty() || !accept_bytes(bytes)) return false;
  begun_ = true;
  return true;
}

// Only the stacks of live positions stay.
void GuideState::compact() {
  Frames fresh;
  for (Position& p : positions_.at) {
    std::vector<int32_t> backs;
    for (int32_t s = p.stack; s != 0; s = frames_[s].below) backs.push_back(frames_[s].back);
    p.stack = 0;
    for (size_t i = backs.size(); i-- > 0;) p.stack = fresh.push(backs[i], p.stack);
  }
  frames_ = std::move(fresh);
  compact_at_ = std::max(kCompactAt, 2 * frames_.size());
}

}  // namespace tokamak
