// Byte-pair encoding by merge rank. Short words: the best pair is searched by scanning; long ones
// keep the pairs in a heap, so that a word of n characters takes n log n.
#include <algorithm>
#include <array>
#include <limits>

#include "base/error.h"
#include "text/byte_level.h"
#include "text/sp_pieces.h"
#include "text/token_model.h"
#include "text/unicode.h"

namespace tokamak {
namespace {

constexpr uint64_t kNoMerge = UINT64_MAX;
constexpr size_t kScanLimit = 40;  // symbols up to which scanning beats the heap
constexpr std::string_view kSpaceMark = "\xE2\x96\x81";

// (left id, right id) → rank and result; open addressing.
class MergeTable {
 public:
  explicit MergeTable(const std::vector<BpeMerge>& merges) {
    size_t capacity = 16;
    while (capacity < merges.size() * 2) capacity *= 2;
    slots_.assign(capacity, {kFree, 0, 0});
    for (size_t rank = 0; rank < merges.size(); ++rank) {
      const uint64_t key = key_of(merges[rank].left, merges[rank].right);
      Slot& slot = slots_[place(key)];
      slot = {key, static_cast<uint32_t>(rank), merges[rank].result};
    }
  }
  struct Merge {
    uint32_t rank = UINT32_MAX;  // UINT32_MAX: these two do not merge
    int32_t result = -1;
  };
  Merge find(int32_t left, int32_t right) const {
    const Slot& slot = slots_[place(key_of(left, right))];
    return slot.key == kFree ? Merge{} : Merge{slot.rank, slot.result};
  }

 private:
  static constexpr uint64_t kFree = UINT64_MAX;
  struct Slot {
    uint64_t key;
    uint32_t rank;
    int32_t result;
  };
  static uint64_t key_of(int32_t left, int32_t right) {
    return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
  }
  size_t place(uint64_t key) const {
    size_t i = mix64(key, 0) & (slots_.size() - 1);
    while (slots_[i].key != key && slots_[i].key != kFree) i = (i + 1) & (slots_.size() - 1);
    return i;
  }
  std::vector<Slot> slots_;
};

class Bpe : public TokenModel {
 public:
  Bpe(const BpeModel& spec, const StringIndex& index, bool raw_bytes)
      : spec_(spec), index_(index), merges_(spec.merges), raw_(raw_bytes) {
    if (raw_) {
      init_raw();
    } else {
      byte_ids_ = byte_piece_ids(spec.pieces, {});
      init_splits();
    }
  }

  void tokenize(std::string_view text, Scratch& scratch, std::vector<int32_t>& out) const override {
    if (spec_.ignore_merges) {
      if (const int32_t id = whole(text); id >= 0) return out.push_back(id);
    }
    if (!splits_ || text.size() <= WordCache::kMaxBytes) return merge_word(text, scratch, out);
    // No merge reaches over these places: the words between them are independent.
    for (size_t begin = 0; begin < text.size();) {
      const size_t end = word_end(text, begin);
      const std::string_view word = text.substr(begin, end - begin);
      if (word.size() > WordCache::kMaxBytes || word.size() == text.size()) {
        merge_word(word, scratch, out);
      } else {
        tokenize_cached(word, scratch, out);
      }
      begin = end;
    }
  }

 private:
  void init_raw() {
    raw_pieces_.resize(spec_.pieces.size());
    for (size_t id = 0; id < spec_.pieces.size(); ++id) {
      if (auto bytes = byte_level::unmapped(spec_.pieces[id])) raw_pieces_[id] = std::move(*bytes);
    }
    for (size_t b = 0; b < 256; ++b) {
      byte_ids_[b] =
          index_.find(unicode::to_utf8(byte_level::char_of(static_cast<unsigned char>(b))));
    }
    if (spec_.ignore_merges) raw_index_ = StringIndex(raw_pieces_);
  }

  // A text may be cut before U+2581 where no merge joins it to the character before it.
  void init_splits() {
    splits_ = !spec_.ignore_merges && spec_.continuing_subword_prefix.empty() &&
              spec_.end_of_word_suffix.empty() && index_.find(kSpaceMark) >= 0;
    const auto is_byte = [&](int32_t id) {
      return byte_of_piece(spec_.pieces[static_cast<size_t>(id)]) >= 0;
    };
    for (const BpeMerge& merge : spec_.merges) {
      if (!splits_) return;
      if (is_byte(merge.left) || is_byte(merge.right)) splits_ = false;
      const std::string& piece = spec_.pieces[static_cast<size_t>(merge.result)];
      for (size_t at = piece.find(kSpaceMark, 1); at != std::string::npos;
           at = piece.find(kSpaceMark, at + 1)) {
        if (piece.compare(at - std::min<size_t>(at, 3), 3, kSpaceMark) != 0) {
          joined_.set(static_cast<unsigned char>(piece[at - 1]));
        }
      }
    }
  }

  size_t word_end(std::string_view text, size_t begin) const {
    for (size_t at = text.find(kSpaceMark, begin + 1); at != std::string_view::npos;
         at = text.find(kSpaceMark, at + 1)) {
      const bool after_mark = at >= 3 && text.compare(at - 3, 3, kSpaceMark) == 0;
      if (!after_mark && !joined_.test(static_cast<unsigned char>(text[at - 1]))) return at;
    }
    return text.size();
  }

  int32_t whole(std::string_view text) const {
    return raw_ ? raw_index_.find(text) : index_.find(text);
  }

  void merge_word(std::string_view text, Scratch& scratch, std::vector<int32_t>& out) const {
    auto& symbols = scratch.symbols;
    symbols.clear();
    if (raw_) {
      add_bytes(text, symbols);
    } else {
      add_characters(text, scratch, symbols);
    }
    if (symbols.size() <= kScanLimit) {
      merge_by_scan(symbols, scratch.ranks);
    } else {
      merge_by_heap(symbols, scratch.heap);
    }
    for (const BpeSymbol& symbol : symbols) {
      if (symbol.id >= 0) out.push_back(symbol.id);
    }
  }

  // Collects symbols. An unknown character waits for the next known one (a run of them may become
  // one symbol); byte pieces do not count as known, so they overtake it, as in the original.
  struct Collector {
    const BpeModel& spec;
    std::vector<BpeSymbol>& symbols;
    bool waiting = false;
    void known(int32_t id) {
      finish();
      symbols.push_back({id});
    }
    void unknown() {
      if (!spec.unk) return;
      if (!spec.fuse_unk) finish();
      waiting = true;
    }
    void finish() {
      if (waiting) symbols.push_back({*spec.unk});
      waiting = false;
    }
  };

  void add_bytes(std::string_view text, std::vector<BpeSymbol>& symbols) const {
    Collector collector{spec_, symbols};
    for (const char c : text) {
      const int32_t id = byte_ids_[static_cast<unsigned char>(c)];
      if (id >= 0) {
        collector.known(id);
      } else {
        collector.unknown();
      }
    }
    collector.finish();
  }

  void add_characters(std::string_view text, Scratch& scratch,
                      std::vector<BpeSymbol>& symbols) const {
    Collector collector{spec_, symbols};
    for (size_t i = 0; i < text.size();) {
      const size_t length = unicode::char_length(static_cast<unsigned char>(text[i]));
      std::string_view symbol = text.substr(i, length);
      const bool prefixed = i > 0 && !spec_.continuing_subword_prefix.empty();
      const bool suffixed = i + length == text.size() && !spec_.end_of_word_suffix.empty();
      if (prefixed || suffixed) {
        scratch.text = prefixed ? spec_.continuing_subword_prefix : std::string();
        scratch.text += symbol;
        if (suffixed) scratch.text += spec_.end_of_word_suffix;
        symbol = scratch.text;
      }
      i += length;
      const int32_t id = index_.find(symbol);
      if (id >= 0) {
        collector.known(id);
      } else if (!spec_.byte_fallback || !push_bytes(symbol, collector)) {
        collector.unknown();
      }
    }
    collector.finish();
  }

  bool push_bytes(std::string_view symbol, Collector& collector) const {
    for (const char c : symbol) {
      if (byte_ids_[static_cast<unsigned char>(c)] < 0) return false;
    }
    for (const char c : symbol) {
      collector.symbols.push_back({byte_ids_[static_cast<unsigned char>(c)]});
    }
    return true;
  }

  void merge_by_scan(std::vector<BpeSymbol>& symbols, std::vector<uint64_t>& ranks) const {
    // ranks[i]: rank << 32 | result of merging symbols i and i + 1.
    const auto pair = [&](size_t i) -> uint64_t {
      const auto merge = merges_.find(symbols[i].id, symbols[i + 1].id);
      if (merge.result < 0) return kNoMerge;
      return static_cast<uint64_t>(merge.rank) << 32 | static_cast<uint32_t>(merge.result);
    };
    if (symbols.size() < 2) return;
    ranks.resize(symbols.size() - 1);
    for (size_t i = 0; i + 1 < symbols.size(); ++i) ranks[i] = pair(i);
    while (!ranks.empty()) {
      const auto best = std::min_element(ranks.begin(), ranks.end());
      if (*best == kNoMerge) return;
      const auto i = static_cast<size_t>(best - ranks.begin());
      symbols[i].id = static_cast<int32_t>(*best & 0xFFFFFFFFu);
      symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(i) + 1);
      ranks.erase(best);
      if (i > 0) ranks[i - 1] = pair(i - 1);
      if (i < ranks.size()) ranks[i] = pair(i);
    }
  }

  static bool later(const BpeCandidate& a, const BpeCandidate& b) { return a.key > b.key; }

  void offer(const std::vector<BpeSymbol>& symbols, int32_t left, int32_t right,
             std::vector<BpeCandidate>& heap) const {
    if (left < 0 || right < 0) return;
    const auto merge =
        merges_.find(symbols[static_cast<size_t>(left)].id, symbols[static_cast<size_t>(right)].id);
    if (merge.result < 0) return;
    heap.push_back(
        {static_cast<uint64_t>(merge.rank) << 32 | static_cast<uint32_t>(left), merge.result});
  }

  void merge_by_heap(std::vector<BpeSymbol>& symbols, std::vector<BpeCandidate>& heap) const {
    if (symbols.size() > std::numeric_limits<int32_t>::max()) fail("a word is longer than 2 GiB");
    const auto count = static_cast<int32_t>(symbols.size());
    heap.clear();
    for (int32_t i = 0; i < count; ++i) {
      symbols[static_cast<size_t>(i)].previous = i - 1;
      symbols[static_cast<size_t>(i)].next = i + 1 < count ? i + 1 : -1;
      if (i > 0) offer(symbols, i - 1, i, heap);
    }
    std::make_heap(heap.begin(), heap.end(), later);
    while (!heap.empty()) {
      std::pop_heap(heap.begin(), heap.end(), later);
      const BpeCandidate top = heap.back();
      heap.pop_back();
      const auto at = static_cast<int32_t>(top.key & 0xFFFFFFFFu);
      BpeSymbol& left = symbols[static_cast<size_t>(at)];
      if (left.id < 0 || left.next < 0) continue;  // merged away since
      BpeSymbol& right = symbols[static_cast<size_t>(left.next)];
      if (merges_.find(left.id, right.id).result != top.result) continue;  // changed since
      left.id = top.result;
      right.id = -1;
      left.next = right.next;
      if (left.next >= 0) symbols[static_cast<size_t>(left.next)].previous = at;
      const size_t before = heap.size();
      offer(symbols, left.previous, at, heap);
      if (heap.size() > before) std::push_heap(heap.begin(), heap.end(), later);
      const size_t between = heap.size();
      offer(symbols, at, left.next, heap);
      if (heap.size() > between) std::push_heap(heap.begin(), heap.end(), later);
    }
  }

  struct ByteSet {
    std::array<bool, 256> has{};
    void set(unsigned char b) { has[b] = true; }
    bool test(unsigned char b) const { return has[b]; }
  };

  const BpeModel& spec_;
  const StringIndex& index_;
  MergeTable merges_;
  bool raw_;
  std::array<int32_t, 256> byte_ids_{};  // raw: of single bytes; else of "<0xNN>"
  std::vector<std::string> raw_pieces_;  // raw and ignore_merges: the bytes that a piece spells
  StringIndex raw_index_;
  bool splits_ = false;
  ByteSet joined_;  // last bytes of characters that some merge joins to a U+2581 behind them
};

void check(const BpeModel& spec, const std::string& source) {
  const auto valid = [&](int32_t id) {
    return id >= 0 && static_cast<size_t>(id) < spec.pieces.size();
  };
  for (size_t i = 0; i < spec.merges.size(); ++i) {
    const BpeMerge& m = spec.merges[i];
    if (!valid(m.left) || !valid(m.right) || !valid(m.result)) {
      fail("{}: BPE merge {} names a token id outside the {} pieces", source, i,
           spec.pieces.size());
    }
  }
  if (spec.unk && !valid(*spec.unk)) {
    fail("{}: BPE: unknown token id {} of {} pieces", source, *spec.unk, spec.pieces.size());
  }
}

}  // namespace

std::unique_ptr<TokenModel> make_bpe(const BpeModel& spec, const StringIndex& index, bool raw_bytes,
                                     const std::string& source) {
  check(spec, source);
  return std::make_unique<Bpe>(spec, index, raw_bytes);
}

}  // namespace tokamak
