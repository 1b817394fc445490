// How the attention of one step is cut into items that workers take: for a sequence with several
// new tokens one item per KV head and stretch of queries; for a sequence with one new token one
// item per KV head, or several over parts of its keys where there would be too few items otherwise.
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
  int64_t unit = 0;                        // decode: number among (decode sequence, kv_head)
};

class AttentionWork {
 public:
  AttentionWork(const StepContext& step, int64_t kv_heads, int64_t queries_per_item, int64_t window,
                int workers)
      : step_(step), kv_heads_(kv_heads), queries_(queries_per_item), window_(window) {
    for (int32_t s = 0; s < step.sequences; ++s) {
      decodes_ += queries(s) == 1;
      if (queries(s) > 1) prefill_items_ += stretches(s) * kv_heads;
      shared_ |= queries(s) > queries_;
    }
    const int64_t units = decodes_ * kv_heads_, wanted = int64_t{3} * workers;
    if (units > 0 && units < wanted && workers > 1) most_parts_ = (wanted + units - 1) / units;
    for (int32_t s = 0; s < step.sequences; ++s)
      if (queries(s) == 1) {
        decode_items_ += parts(s) * kv_heads;
        split_ |= parts(s) > 1;
      }
    shared_ |= split_;
  }

  int64_t items() const { return prefill_items_ + decode_items_; }
  int64_t decode_units() const { return decodes_ * kv_heads_; }
  int64_t most_parts() const { return most_parts_; }
  bool split() const { return split_; }    // some decode has several parts: they must be merged
  bool shared() const { return shared_; }  // some KV head of a sequence has several items
  int64_t queries(int32_t s) const { return step_.query_begin[s + 1] - step_.query_begin[s]; }
  // Visible keys of a decoding sequence are [first_key, context_len).
  int64_t first_key(int32_t s) const {
    return window_ > 0 ? std::max<int64_t>(0, step_.context_len[s] - window_) : 0;
  }
  int64_t parts(int32_t s) const {
    constexpr int64_t kPartKeys = 2 * kKeyTile;  // not worth an item of its own below that
    const int64_t keys = step_.context_len[s] - first_key(s);
    return std::clamp<int64_t>(keys / kPartKeys, 1, most_parts_);
  }

  // Items of prefill come first, the last (longest) stretches of a sequence before its first ones.
  AttentionItem item(int64_t i) const {
    AttentionItem it;
    it.decode = i >= prefill_items_;
    if (it.decode) i -= prefill_items_;
    for (int32_t s = 0; s < step_.sequences; ++s) {
      if ((queries(s) == 1) != it.decode) continue;
      const int64_t pieces = it.decode ? parts(s) : stretches(s);
      if (i < pieces * kv_heads_) {
        it.sequence = s;
        it.kv_head = i % kv_heads_;
        place(it, i / kv_heads_, pieces);
        return it;
      }
      i -= pieces * kv_heads_;
      it.unit += kv_heads_;
    }
    return it;
  }

 private:
  int64_t stretches(int32_t s) const { return (queries(s) + queries_ - 1) / queries_; }
  void place(AttentionItem& it, int64_t piece, int64_t pieces) const {
    if (it.decode) {
      it.part = piece;
      it.parts = pieces;
      it.unit += it.kv_head;
      return;
    }
    it.query_begin = (pieces - 1 - piece) * queries_;
    it.query_end = std::min(it.query_begin + queries_, queries(it.sequence));
  }

  const StepContext& step_;
  const int64_t kv_heads_, queries_, window_;
  int64_t decodes_ = 0, prefill_items_ = 0, decode_items_ = 0, most_parts_ = 1;
  bool split_ = false, shared_ = false;
};

}  // namespace tokamak
