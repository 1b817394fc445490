// Rows of a stretch of queries in vectors of sixteen, tile by tile of keys. Tiles begin at
// multiples of their size in the sequence, whatever the stretch, so that a row's sums do not depend
// on it.
#include <cmath>
#include <cstring>

#include "backend/cpu/attention/attention_scratch.h"

namespace tokamak {
namespace {

// First and last place of a number of vectors of rows from `row` on.
struct PlaceRange {
  float first, last;
};
PlaceRange range_of(const float* places, int64_t row, int64_t count, int64_t rows) {
  return {places[row], places[std::min(row + count, rows) - 1]};
}

// Whether rows see any of the keys [key, key + tile), and how many of these must be looked at.
bool see(const PlaceRange& r, float key, int tile, float window, int step, TileMask& mask,
         int& keys) {
  if (key > r.last || (window > 0 && key + static_cast<float>(tile) <= r.first - window + 1))
    return false;
  const int needed = static_cast<int>(std::min(static_cast<float>(tile), r.last + 1 - key));
  keys = (needed + step - 1) / step * step;
  mask.needed =
      key + static_cast<float>(keys) - 1 > r.first || (window > 0 && key <= r.last - window);
  mask.key = key;
  mask.window = window;
  return true;
}

}  // namespace

// Keys and values [begin, end) as float rows.
void TunedAttention::load_keys(const StepContext& step, const Scratch& w, int32_t sequence,
                               int64_t kv_head, int64_t begin, int64_t end) const {
  const KvLayerView& layer = layer_of(step);
  const int64_t ld = padded_head(a_.head_dim), size = step.kv.block_size;
  for (int64_t at = begin; at < end;) {
    const int64_t run = std::min(end - at, size - at % size);
    kernels_.widen(step.kv.dtype, cache_row(step, layer.k, sequence, kv_head, at), run, a_.head_dim,
                   w.k + (at - begin) * ld, ld);
    kernels_.widen(step.kv.dtype, cache_row(step, layer.v, sequence, kv_head, at), run, a_.head_dim,
                   w.v + (at - begin) * ld, ld);
    at += run;
  }
}

// Rows of an item to vectors of queries, [ld][16]; missing ones are zero.
void TunedAttention::load_queries(const LaunchArgs& args, const Scratch& w,
                                  const AttentionItem& item) const {
  const StepContext& step = *args.step;
  const int64_t ld = padded_head(a_.head_dim), rows = (item.query_end - item.query_begin) * group();
  const int64_t first = step.query_begin[item.sequence] + item.query_begin;
  RopeTable own;
  const RopeTable* table = table_for(step.context_len[item.sequence], own);
  for (int64_t r = 0; r < (rows + 15) / 16 * 16; ++r) {
    float* head = w.heads + r % 16 * ld;
    if (r < rows) {
      if (r % group() == 0) turn_to(args, w, first + r / group(), table);
      load_query(args, w, first + r / group(), item.kv_head * group() + r % group(), 1, head);
    } else {
      std::memset(head, 0, static_cast<size_t>(ld) * sizeof(float));
    }
    if (r % 16 == 15)
      for (int64_t d = 0; d < a_.head_dim; d += 16)
        kernels_.transpose(w.heads + d, ld, w.q + r / kLanes * kLanes * ld + d * 16, 16);
  }
}

// The starts of an item's rows, and a copy of the last rows where they do not fill two vectors.
void TunedAttention::take_queries(const LaunchArgs& args, const Scratch& w,
                                  const AttentionItem& item) const {
  const int64_t rows = (item.query_end - item.query_begin) * group(), width = pair_width(a_);
  const int64_t token = args.step->query_begin[item.sequence] + item.query_begin;
  const int64_t first = (item.kv_head * args.step->tokens + token) * group();
  const PackedQueries from = packed_queries(args);
  const int64_t all = (rows + 31) / 32 * 32, whole = rows / 32 * 32;
  std::copy_n(from.start + first, rows, w.start);
  std::fill(w.start + rows, w.start + all, 0.0f);
  auto* q = reinterpret_cast<uint16_t*>(w.q);
  std::copy_n(from.q + (first + whole) * width, (rows - whole) * width, q);
  std::fill(q + (rows - whole) * width, q + 32 * width, uint16_t{0});
}

// Of ALiBi, in `unit`; rows past the last are nobody's.
void TunedAttention::fill_slopes(const Scratch& w, int64_t kv_head, int64_t rows,
                                 float unit) const {
  for (int64_t r = 0; r < (rows + 31) / 32 * 32; ++r)
    w.slopes[r] = r < rows ? unit * slopes_[kv_head * group() + r % group()] : 0;
}

// A float32 cache asks for float32 arithmetic.
void TunedAttention::prefill(const LaunchArgs& args, const Scratch& w,
                             const AttentionItem& item) const {
  const StepContext& step = *args.step;
  const bool pairs = in_pairs(step);
  const int64_t ld = padded_head(a_.head_dim);
  const int64_t rows = (item.query_end - item.query_begin) * group();
  const int64_t past = step.context_len[item.sequence] -
                       (step.query_begin[item.sequence + 1] - step.query_begin[item.sequence]);
  if (pairs)
    take_queries(args, w, item);
  else
    load_queries(args, w, item);
  const int64_t all = (rows + 15) / 16 * 16;
  for (int64_t r = 0; r < all; ++r)
    w.places[r] = static_cast<float>(past + item.query_begin + std::min(r, rows - 1) / group());
  if (a_.alibi) fill_slopes(w, item.kv_head, rows, pairs ? kPairUnit : 1);
  std::fill(w.max, w.max + all, kMaskedScore);
  std::fill(w.sum, w.sum + all * (pairs ? 16 : 1), 0.0f);
  std::fill(w.out, w.out + all * ld, 0.0f);
  const int64_t first = past + item.query_begin, end = past + item.query_end;
  const int64_t tile = pairs ? kPairTile : kKeyTile, chunk = pairs ? kPairChunk * tile : tile;
  const int64_t oldest = a_.window > 0 ? std::max<int64_t>(0, first - a_.window + 1) : 0;
  if (pairs) kernels_.pairs->begin();
  for (int64_t key = oldest / tile * tile; key < end; key += chunk) {
    const int64_t stop = std::min(key + chunk, end);
    if (pairs)
      pair_chunk(args, w, item, key, stop);
    else
      float_chunk(step, w, item, key, stop);
  }
  if (pairs) kernels_.pairs->end();
  finish_prefill(args, w, item, pairs);
}

// One tile of keys against all rows.
void TunedAttention::float_chunk(const StepContext& step, const Scratch& w,
                                 const AttentionItem& item, int64_t key, int64_t end) const {
  const int64_t ld = padded_head(a_.head_dim);
  const int64_t rows = (item.query_end - item.query_begin) * group();
  load_keys(step, w, item.sequence, item.kv_head, key, end);
  PrefillTile t;
  t.head_dim = a_.head_dim, t.ld = ld, t.k = w.k, t.v = w.v, t.scores = w.scores;
  t.softcap = static_cast<float>(a_.softcap);
  for (int64_t r = 0; r < rows; r += kLanes) {
    if (!see(range_of(w.places, r, kLanes, rows), static_cast<float>(key), kKeyTile,
             static_cast<float>(a_.window), 1, t.mask, t.keys))
      continue;
    t.mask.places = w.places + r;
    if (a_.alibi) t.slopes = w.slopes + r;
    t.q = w.q + r * ld, t.out = w.out + r * ld;
    t.max = w.max + r, t.sum = w.sum + r;
    kernels_.prefill(t);
  }
}

void TunedAttention::pack_tile(const StepContext& step, const AttentionItem& item, int64_t begin,
                               int64_t end, uint16_t* k, uint16_t* v) const {
  const KvLayerView& layer = layer_of(step);
  const auto bytes = static_cast<int64_t>(row_bytes(step.kv.dtype, a_.head_dim));
  const int64_t size = step.kv.block_size;
  const std::byte *keys[kPairTile], *values[kPairTile];
  for (int64_t at = begin; at < end;) {
    const int64_t run = std::min(end - at, size - at % size);
    const std::byte* first_key = cache_row(step, layer.k, item.sequence, item.kv_head, at);
    const std::byte* first_value = cache_row(step, layer.v, item.sequence, item.kv_head, at);
    for (int64_t i = 0; i < run; ++i, ++at) {
      keys[at - begin] = first_key + i * bytes;
      values[at - begin] = first_value + i * bytes;
    }
  }
  kernels_.pairs->pack_keys(step.kv.dtype, keys, values, static_cast<int>(end - begin), a_.head_dim,
                            k, v);
}

// A few tiles of keys, packed once, against all rows: those of two vectors stay in the first cache
// while the keys pass.
void TunedAttention::pair_chunk(const LaunchArgs& args, const Scratch& w, const AttentionItem& item,
                                int64_t begin, int64_t end) const {
  const StepContext& step = *args.step;
  const int64_t width = pair_width(a_), vector = width * kLanes;
  const int64_t rows = (item.query_end - item.query_begin) * group();
  const int64_t token = step.query_begin[item.sequence] + item.query_begin;
  const uint16_t* q =
      packed_queries(args).q + (item.kv_head * step.tokens + token) * group() * width;
  for (int64_t key = begin; key < end; key += kPairTile) {
    const int64_t stop = std::min(key + kPairTile, end);
    pack_tile(step, item, key, stop, w.pair_k + (key - begin) * width,
              w.pair_v + (key - begin) * width);
  }
  PairTile t;
  t.steps = static_cast<int>(width / 32);
  t.scores = w.scores, t.weights = w.weights, t.fresh = w.fresh;
  t.softcap = static_cast<float>(a_.softcap);
  for (int64_t r = 0; r < rows; r += 2 * kLanes) {
    t.vectors = rows - r > kLanes ? 2 : 1;
    t.q = rows - r < 2 * kLanes ? reinterpret_cast<const uint16_t*>(w.q) : q + r * width;
    if (a_.alibi) t.slopes = w.slopes + r;
    t.start = w.start + r, t.sum = w.sum + r * 16, t.out = w.out + r / kLanes * vector;
    for (int64_t key = begin; key < end; key += kPairTile) {
      if (!see(range_of(w.places, r, 2 * kLanes, rows), static_cast<float>(key), kPairTile,
               static_cast<float>(a_.window), 32, t.mask, t.keys))
        continue;
      t.mask.places = w.places + r;
      t.k = w.pair_k + (key - begin) * width, t.v = w.pair_v + (key - begin) * width;
      kernels_.pairs->tile(t);
    }
  }
}

void TunedAttention::finish_prefill(const LaunchArgs& args, const Scratch& w,
                                    const AttentionItem& item, bool pairs) const {
  const int64_t ld = padded_head(a_.head_dim), rows = (item.query_end - item.query_begin) * group();
  const int64_t first = args.step->query_begin[item.sequence] + item.query_begin;
  const int64_t vector = pair_width(a_) * kLanes;
  const Operand& y = args.out[0];
  const float v_scale = layer_of(*args.step).v_scale;
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t token = first + r / group(), head = item.kv_head * group() + r % group();
    float* to = y.as<float>() + token * y.row_stride + head * a_.head_dim;
    if (pairs) {
      kernels_.pairs->finish_row(w.out + r / kLanes * vector + r % kLanes * 16, w.sum + r * 16,
                                 a_.head_dim, to);
      if (v_scale != 1) kernels_.scale(to, v_scale, a_.head_dim, to);
    } else {
      write_head(args, token, head, w.out + r * ld, 1 / w.sum[r]);
    }
  }
}

}  // namespace tokamak
