#include "guide/guide.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "base/error.h"
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

// A state as text: equal texts, equal masks.
std::string key_of(const Positions& positions, const Frames& frames, bool begun) {
  std::string key(1, begun ? 'b' : 'a');
  const auto put = [&](int32_t n) { key.append(reinterpret_cast<const char*>(&n), sizeof n); };
  for (const Position& p : positions.at) {
    put(p.node);
    for (int32_t s = p.stack; s != 0; s = frames[s].below) put(frames[s].back);
    put(-1);
  }
  return key;
}

}  // namespace

GuideVocabulary::GuideVocabulary(std::vector<std::string> i, std::vector<std::string> f)
    : inside(std::move(i)), first(std::move(f)), trie(inside), first_trie(first) {}

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
    } else if (~bits != 0) {
      for (size_t i = 0; i < part.size(); ++i) part[i] = (bits >> i & 1) != 0 ? part[i] : kMinusInf;
    }
  }
}

Guide::Guide(guide::Rules rules, std::shared_ptr<const GuideVocabulary> vocabulary)
    : grammar_(std::move(rules)), vocabulary_(std::move(vocabulary)) {}

std::shared_ptr<const Guide::NodeMask> Guide::node_mask(int32_t node) const {
  {
    const std::lock_guard lock(mutex_);
    if (const auto it = nodes_.find(node); it != nodes_.end()) return it->second;
  }
  const TokenTrie& trie = vocabulary_->trie;
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
  const std::lock_guard lock(mutex_);
  if (cached_bytes_ + size > kMostCachedBytes) {
    nodes_.clear();
    states_.clear();
    cached_bytes_ = 0;
  }
  cached_bytes_ += size;
  return nodes_.emplace(node, std::move(made)).first->second;
}

std::shared_ptr<const TokenMask> Guide::compute(const Positions& positions, const Frames& frames,
                                                bool begun) const {
  const bool anew = !begun && !vocabulary_->first.empty();
  if (!anew && positions.at.size() == 1 && positions.at[0].stack == 0)
    return node_mask(positions.at[0].node)->mask;
  std::string key = key_of(positions, frames, !anew);
  {
    const std::lock_guard lock(mutex_);
    if (const auto it = states_.find(key); it != states_.end()) return it->second;
  }
  const TokenTrie& trie = anew ? vocabulary_->first_trie : vocabulary_->trie;
  Bits bits((vocabulary_->size() + 63) / 64);
  Frames copy = frames;
  TokenWalk walk(grammar_, trie, copy);
  const auto accept = [&](const TokenTrie::Node& n) { set_bits(bits, trie.tokens_at(n)); };
  const auto nothing = [](int32_t) {};
  if (anew) walk.run(0, static_cast<int32_t>(trie.nodes().size()), positions.at, accept, nothing);
  for (const Position& p : positions.at) {
    if (anew) break;
    const std::shared_ptr<const NodeMask> within = node_mask(p.node);
    within->mask->add_to(bits);
    if (p.stack == 0 || within->escapes.empty()) continue;
    std::vector<Position> from = {{copy[p.stack].back, copy[p.stack].below}};
    Positions behind;
    close(grammar_, copy, from, behind);
    for (const int32_t i : within->escapes)
      walk.run(i + 1, trie.nodes()[static_cast<size_t>(i)].skip, behind.at, accept, nothing);
  }
  auto mask = std::make_shared<const TokenMask>(std::move(bits), vocabulary_->size());
  const std::lock_guard lock(mutex_);
  const size_t size = mask->bytes() + key.size() + 200;
  if (cached_bytes_ + size > kMostCachedBytes) {
    nodes_.clear();
    states_.clear();
    cached_bytes_ = 0;
  }
  cached_bytes_ += size;
  return states_.emplace(std::move(key), std::move(mask)).first->second;
}

GuideState::GuideState(std::shared_ptr<const Guide> guide)
    : guide_(std::move(guide)), compact_at_(kCompactAt) {
  std::vector<Position> from = {{guide_->grammar_.start(), 0}};
  close(guide_->grammar_, frames_, from, positions_);
}

std::shared_ptr<const TokenMask> GuideState::mask() const {
  return guide_->compute(positions_, frames_, begun_);
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
