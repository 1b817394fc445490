// A model turns one piece of text into ids. Models are immutable; what changes lives in a Scratch,
// of which every thread that encodes holds its own.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "text/string_index.h"
#include "text/tokenizer_spec.h"

namespace tokamak {

// Direct-mapped: short pieces and what they became. Bounded: 1 MiB.
class WordCache {
 public:
  static constexpr size_t kMaxBytes = 30, kMaxIds = 8;

  bool find(std::string_view word, std::vector<int32_t>& out) const {
    if (entries_.empty()) return false;
    const Entry& e = entries_[slot(word)];
    if (e.bytes != word.size() || std::memcmp(e.word, word.data(), word.size()) != 0) return false;
    out.insert(out.end(), e.ids, e.ids + e.count);
    return true;
  }
  void store(std::string_view word, const int32_t* ids, size_t count) {
    if (count > kMaxIds) return;
    if (entries_.empty()) entries_.resize(kEntries);
    Entry& e = entries_[slot(word)];
    e.bytes = static_cast<uint8_t>(word.size());
    e.count = static_cast<uint8_t>(count);
    std::memcpy(e.word, word.data(), word.size());
    std::copy_n(ids, count, e.ids);
  }

 private:
  static constexpr size_t kEntries = 1u << 14;
  struct Entry {
    uint8_t bytes = 0, count = 0;  // no word is empty: bytes 0 is a free entry
    char word[kMaxBytes];
    int32_t ids[kMaxIds];
  };
  static size_t slot(std::string_view word) { return hash_bytes(word) & (kEntries - 1); }
  std::vector<Entry> entries_;
};

struct BpeSymbol {
  int32_t id = -1;
  int32_t previous = -1, next = -1;
};
struct BpeCandidate {
  uint64_t key;  // rank << 32 | position: smallest first
  int32_t result;
};
struct UnigramNode {
  double score;
  int32_t id, begin;
};

struct Scratch {
  WordCache cache;
  std::vector<BpeSymbol> symbols;
  std::vector<BpeCandidate> heap;
  std::vector<uint64_t> ranks;
  std::vector<UnigramNode> path;
  std::string text;

  // After a giant word: gives the memory back that only it needed.
  void release_large() {
    constexpr size_t kKeep = 1u << 16;
    if (symbols.capacity() > kKeep) symbols = {};
    if (heap.capacity() > kKeep) heap = {};
    if (ranks.capacity() > kKeep) ranks = {};
    if (path.capacity() > kKeep) path = {};
    if (text.capacity() > kKeep) text = {};
  }
};

class TokenModel {
 public:
  virtual ~TokenModel() = default;
  // Appends the ids of a piece (valid UTF-8, or any bytes where the model works on bytes; not
  // empty).
  virtual void tokenize(std::string_view piece, Scratch& scratch,
                        std::vector<int32_t>& out) const = 0;

  // The same by way of the cache.
  void tokenize_cached(std::string_view piece, Scratch& scratch, std::vector<int32_t>& out) const {
    if (piece.size() > WordCache::kMaxBytes) return tokenize(piece, scratch, out);
    if (scratch.cache.find(piece, out)) return;
    const size_t before = out.size();
    tokenize(piece, scratch, out);
    scratch.cache.store(piece, out.data() + before, out.size() - before);
  }
};

// The pieces of any model, and setting them by position.
const std::vector<std::string>& pieces_of(const ModelSpec& spec);

// Makes the model. It keeps references into `spec`. raw_bytes: pieces are byte-level spellings,
// texts come as bytes (BPE only).
std::unique_ptr<TokenModel> make_model(const ModelSpec& spec, const StringIndex& index,
                                       bool raw_bytes, const std::string& source);
// Whether the model can run on raw bytes.
bool supports_raw_bytes(const ModelSpec& spec);

std::unique_ptr<TokenModel> make_bpe(const BpeModel& spec, const StringIndex& index, bool raw_bytes,
                                     const std::string& source);
std::unique_ptr<TokenModel> make_unigram(const UnigramModel& spec, const std::string& source);
std::unique_ptr<TokenModel> make_wordpiece(const WordPieceModel& spec, const StringIndex& index,
                                           const std::string& source);

}  // namespace tokamak
