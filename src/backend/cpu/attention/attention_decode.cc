// One query a sequence: its keys and values are read once, from the cache, for all heads of the
// group. Long contexts are cut into parts that are merged.
#include <cmath>
#include <cstring>
#include <span>

#include "backend/cpu/attention/attention_scratch.h"

namespace tokamak {

// Runs of the keys [begin, end), none across blocks.
int TunedAttention::find_runs(const StepContext& step, const AttentionItem& item, int64_t begin,
                              int64_t end, KeyRun* runs) const {
  const KvLayerView& layer = layer_of(step);
  const int64_t size = step.kv.block_size;
  const auto row = static_cast<int64_t>(row_bytes(step.kv.dtype, a_.head_dim));
  const int32_t* block = step.block_table + item.sequence * step.block_table_stride + begin / size;
  int64_t skip = begin % size;
  int count = 0;
  for (int64_t at = begin; at < end; ++count, ++block, skip = 0) {
    const int64_t run = std::min(end - at, size - skip);
    const int64_t offset = ((*block * a_.kv_heads + item.kv_head) * size + skip) * row;
    runs[count] = {layer.k + offset, layer.v + offset, static_cast<int>(run)};
    at += run;
  }
  return count;
}

// What a tile of these keys will read.
FetchPlan TunedAttention::plan_fetch(const StepContext& step, std::span<const KeyRun> runs,
                                     FetchRun* fetches) const {
  const auto row = static_cast<int64_t>(row_bytes(step.kv.dtype, a_.head_dim));
  FetchPlan plan{fetches, 0, 0};
  for (const KeyRun& run : runs) {
    fetches[plan.count++] = {run.k, run.k + run.keys * row};
    fetches[plan.count++] = {run.v, run.v + run.keys * row};
    plan.bytes += 2 * run.keys * row;
  }
  return plan;
}

// Where the tile that begins at `key` ends.
static int64_t tile_end(int64_t key, int64_t end) {
  return std::min((key / kKeyTile + 1) * kKeyTile, end);
}

// The decode items from `i` on. While one is computed, the first keys of the next are fetched.
void TunedAttention::decode_all(const LaunchArgs& args, const Scratch& w, const AttentionWork& work,
                                AttentionWork::Cursor& cursor, int64_t i, CpuExec& e) const {
  if (i >= work.items()) return;
  const StepContext& step = *args.step;
  AttentionItem item = work.item(i, cursor);
  KeyRun runs[kKeyTile];
  FetchRun fetches[2 * kKeyTile];
  const int64_t begin = work.part_begin(item.sequence, item.part);
  const int64_t end = work.part_begin(item.sequence, item.part + 1);
  const int count = find_runs(step, item, begin, tile_end(begin, end), runs);
  FetchPlan plan = plan_fetch(step, {runs, static_cast<size_t>(count)}, fetches);
  kernels_.fetch(plan);
  for (bool more = true; more;) {
    i = e.next_task();
    more = i < work.items();
    const AttentionItem next = more ? work.item(i, cursor) : item;
    // Of a decode in parts only the last one reads the new key.
    if (item.part + 1 == item.parts) append(args, w, item.sequence, item.kv_head, 0, 1);
    decode(args, w, work, item, more ? &next : nullptr);
    item = next;
  }
}

void TunedAttention::decode(const LaunchArgs& args, const Scratch& w, const AttentionWork& work,
                            const AttentionItem& item, const AttentionItem* next) const {
  const StepContext& step = *args.step;
  const int64_t ld = padded_head(a_.head_dim), token = step.query_begin[item.sequence];
  const int64_t begin = work.part_begin(item.sequence, item.part);
  const int64_t end = work.part_begin(item.sequence, item.part + 1);
  RopeTable own;
  turn_to(args, w, token, table_for(step.context_len[item.sequence], own));
  std::memset(w.q, 0, static_cast<size_t>(group() * ld) * sizeof(float));
  for (int64_t g = 0; g < group(); ++g)
    load_query(args, w, token, item.kv_head * group() + g, 1, w.q + g * ld);
  const bool whole = item.parts == 1;
  const Running r = whole ? Running{w.max, w.sum, w.out} : slot(args.workspace, item.slot);
  std::fill(r.max, r.max + group(), kMaskedScore);
  std::fill(r.sum, r.sum + group(), 0.0f);
  std::fill(r.out, r.out + group() * ld, 0.0f);
  KeyRun tiles[2][kKeyTile];  // the runs of this tile, and of the next
  FetchRun fetches[2 * kKeyTile];
  DecodeTile t;
  t.dtype = step.kv.dtype;
  t.head_dim = a_.head_dim, t.ld = ld, t.heads = static_cast<int>(group());
  t.q = w.q, t.scores = w.scores;
  t.softcap = static_cast<float>(a_.softcap);
  if (a_.alibi) t.slopes = slopes_.data() + item.kv_head * group();
  t.max = r.max, t.sum = r.sum, t.out = r.out;
  int count = find_runs(step, item, begin, tile_end(begin, end), tiles[0]);
  int which = 0;
  for (int64_t key = begin, stop; key < end; key = stop, which = 1 - which) {
    stop = tile_end(key, end);
    t.keys = static_cast<int>(stop - key);
    t.runs = tiles[which];
    t.run_count = count;
    t.distance = static_cast<float>(key - (step.context_len[item.sequence] - 1));
    KeyRun* ahead = tiles[1 - which];
    count = 0;
    if (stop < end) {
      count = find_runs(step, item, stop, tile_end(stop, end), ahead);
    } else if (next != nullptr) {
      const int64_t from = work.part_begin(next->sequence, next->part);
      const int64_t to = tile_end(from, work.part_begin(next->sequence, next->part + 1));
      count = find_runs(step, *next, from, to, ahead);
    }
    FetchPlan plan = plan_fetch(step, {ahead, static_cast<size_t>(count)}, fetches);
    t.ahead = &plan;
    kernels_.decode(t);
  }
  if (!whole) return;
  for (int64_t g = 0; g < group(); ++g)
    write_head(args, token, item.kv_head * group() + g, r.out + g * ld, 1 / r.sum[g]);
}

// Parts of a decode item into its output: each weighs by its sum and its distance to the maximum.
void TunedAttention::merge(const LaunchArgs& args, const Scratch& w, const AttentionWork& work,
                           CpuExec& e) const {
  const StepContext& step = *args.step;
  const int64_t ld = padded_head(a_.head_dim);
  int64_t task = 0, mine = e.next_task(), at = 0;
  for (int32_t s = 0; s < step.sequences; ++s) {
    const int64_t parts = work.pieces_of(s);
    if (!work.is_decode(s) || parts == 1) continue;
    for (int64_t head = 0; head < a_.heads; ++head, ++task) {
      if (task != mine) continue;
      mine = e.next_task();
      const int64_t first = at + head / group() * parts, g = head % group();
      float max = kMaskedScore, sum = 0;
      for (int64_t p = 0; p < parts; ++p)
        max = std::max(max, slot(args.workspace, first + p).max[g]);
      for (int64_t p = 0; p < parts; ++p) {
        const Running r = slot(args.workspace, first + p);
        const float factor = std::exp(r.max[g] - max);
        sum += factor * r.sum[g];
        const float* out = r.out + g * ld;
        for (int64_t d = 0; d < a_.head_dim; ++d)
          w.heads[d] = (p == 0 ? 0 : w.heads[d]) + factor * out[d];
      }
      write_head(args, step.query_begin[s], head, w.heads, 1 / sum);
    }
    at += parts * a_.kv_heads;
  }
}

}  // namespace tokamak
