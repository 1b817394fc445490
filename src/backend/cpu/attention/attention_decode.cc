// One query a sequence: its keys and values are read once, from the cache, for all heads of the
// group. Long contexts are cut into parts that are merged.
#include <cmath>
#include <cstring>

#include "backend/cpu/attention/attention_scratch.h"

namespace tokamak {

// Runs of the keys [begin, end), not across blocks. Each knows what is read a tile later, up to
// `last`.
int TunedAttention::find_runs(const StepContext& step, const AttentionItem& item, int64_t begin,
                              int64_t end, int64_t last, KeyRun* runs) const {
  const KvLayerView& layer = step.kv.layers[static_cast<size_t>(a_.layer)];
  const int64_t size = step.kv.block_size;
  int count = 0;
  for (int64_t at = begin; at < end; ++count) {
    const int64_t run = std::min(end - at, size - at % size), next = at + kKeyTile;
    KeyRun& r = runs[count];
    r.keys = static_cast<int>(run);
    r.k = cache_row(step, layer.k, item.sequence, item.kv_head, at);
    r.v = cache_row(step, layer.v, item.sequence, item.kv_head, at);
    r.next_k = next < last ? cache_row(step, layer.k, item.sequence, item.kv_head, next) : nullptr;
    r.next_v = next < last ? cache_row(step, layer.v, item.sequence, item.kv_head, next) : nullptr;
    at += run;
  }
  return count;
}

void TunedAttention::decode(const LaunchArgs& args, const Scratch& w, const AttentionWork& work,
                            const AttentionItem& item) const {
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
  KeyRun runs[kKeyTile];
  DecodeTile t;
  t.dtype = step.kv.dtype;
  t.head_dim = a_.head_dim, t.ld = ld, t.heads = static_cast<int>(group());
  t.q = w.q, t.runs = runs, t.scores = w.scores;
  t.softcap = static_cast<float>(a_.softcap);
  t.max = r.max, t.sum = r.sum, t.out = r.out;
  for (int64_t key = begin, stop; key < end; key = stop) {
    stop = std::min((key / kKeyTile + 1) * kKeyTile, end);
    t.keys = static_cast<int>(stop - key);
    t.run_count = find_runs(step, item, key, stop, end, runs);
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
