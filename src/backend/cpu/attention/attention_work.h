// How the attention of one step is cut into items that workers take. A sequence with several new
// tokens: an item per KV head and stretch of queries. A sequence with one new token: an item per KV
// head, or per part of its keys where there are fewer KV heads than balanced work needs.
#pragma once
#include <algorithm>

#include "backend/backend.h"
#include "backend/cpu/attention/tile.h"

namespace tokamak {

struct AttentionItem {
  int32_t sequence = 0;
  int64_t kv_head = 0;
  bool decode = false;
  int64_t query_begin = 0, query_end = 0;  // prefill: of the sequence's new tokens
  int64_t part = 0, parts = 1;             // decode: of the keys
  int64_t slot = 0;                        // decode in parts: number of the part among all of them
};

struct AttentionCut {
  int64_t kv_heads = 0, window = 0;
  int64_t most_queries = 0;   // of a stretch
  bool decode_alone = false;  // a single token's attention is computed by the decode kernel
  int workers = 1;
};

class AttentionWork {
 public:
  static constexpr int64_t kPartsPerWorker = 8;
  static constexpr int64_t kLeastPartKeys = 2 * kKeyTile;
  // Slots that decodes in parts need at most: no part but a last one is below an even share.
  static constexpr int64_t most_slots(int workers) { return 4 * kPartsPerWorker * workers; }

  AttentionWork(const StepContext& step, const AttentionCut& cut) : step_(step), cut_(cut) {
    int64_t keys = 0, tokens = 0;
    for (int32_t s = 0; s < step.sequences; ++s)
      if (is_decode(s))
        keys += step.context_len[s] - first_key(s);
      else
        tokens += queries(s);
    part_keys_ = keys * cut.kv_heads / (kPartsPerWorker * cut.workers) + 1;
    part_keys_ = std::max((part_keys_ + kKeyTile - 1) / kKeyTile * kKeyTile, kLeastPartKeys);
    // As many stretches as balance the workers, of sixteen queries at least.
    const int64_t even = tokens * cut.kv_heads / (4 * cut.workers) / 16 * 16;
    stretch_ = std::min(std::max<int64_t>(even, 16), cut.most_queries);
    for (int32_t s = 0; s < step.sequences; ++s) {
      const int64_t pieces = pieces_of(s);
      (is_decode(s) ? decode_items_ : prefill_items_) += pieces * cut.kv_heads;
      split_ |= is_decode(s) && pieces > 1;
      shared_ |= !is_decode(s) && pieces > 1;
    }
  }

  int64_t items() const { return prefill_items_ + decode_items_; }
  int64_t prefill_items() const { return prefill_items_; }  // they come first
  bool split() const { return split_; }    // some decode has several parts: they must be merged
  bool shared() const { return shared_; }  // some prompt's keys are read by several items
  bool is_decode(int32_t s) const { return cut_.decode_alone && queries(s) == 1; }
  int64_t queries(int32_t s) const { return step_.query_begin[s + 1] - step_.query_begin[s]; }
  // Visible keys of a decoding sequence are [first_key, context_len).
  int64_t first_key(int32_t s) const {
    return cut_.window > 0 ? std::max<int64_t>(0, step_.context_len[s] - cut_.window) : 0;
  }
  // Where part `part` of a decoding sequence begins: at a tile's border.
  int64_t part_begin(int32_t s, int64_t part) const {
    const int64_t first = first_key(s);
    return part == 0 ? first
                     : std::min<int64_t>(first / kKeyTile * kKeyTile + part * part_keys_,
                                         step_.context_len[s]);
  }
  // Stretches or parts.
  int64_t pieces_of(int32_t s) const {
    if (!is_decode(s)) return (queries(s) + stretch_ - 1) / stretch_;
    const int64_t keys = step_.context_len[s] - first_key(s) / kKeyTile * kKeyTile;
    return (keys + part_keys_ - 1) / part_keys_;
  }

  // The items in rising order, each worker with a cursor of its own: prompts first, the last
  // (longest) stretches of a sequence before its first ones.
  struct Cursor {
    int32_t sequence = 0;
    bool decode = false;
    int64_t first = 0, slot = 0;  // item and slot that the sequence begins with
  };
  AttentionItem item(int64_t i, Cursor& at) const {
    for (;; next(at)) {
      if (at.sequence == step_.sequences) at.sequence = 0, at.decode = true;
      if (is_decode(at.sequence) == at.decode &&
          i < at.first + pieces_of(at.sequence) * cut_.kv_heads)
        break;
    }
    AttentionItem it;
    it.sequence = at.sequence;
    it.decode = at.decode;
    const int64_t pieces = pieces_of(at.sequence), piece = (i - at.first) / cut_.kv_heads;
    it.kv_head = (i - at.first) % cut_.kv_heads;
    if (it.decode) {
      it.part = piece;
      it.parts = pieces;
      it.slot = at.slot + it.kv_head * pieces + piece;
    } else {
      it.query_begin = (pieces - 1 - piece) * stretch_;
      it.query_end = std::min(it.query_begin + stretch_, queries(at.sequence));
    }
    return it;
  }

 private:
  void next(Cursor& at) const {
    if (is_decode(at.sequence) == at.decode) {
      const int64_t pieces = pieces_of(at.sequence) * cut_.kv_heads;
      at.first += pieces;
      if (at.decode && pieces > cut_.kv_heads) at.slot += pieces;
    }
    ++at.sequence;
  }

  const StepContext& step_;
  const AttentionCut cut_;
  int64_t stretch_ = 16, part_keys_ = 1;
  int64_t prefill_items_ = 0, decode_items_ = 0;
  bool split_ = false, shared_ = false;
};

}  // namespace tokamak
