#include "backend/cpu/attention/attention_kernel.h"

#include <cmath>
#include <cstring>

namespace tokamak {
namespace {

int64_t padded_head(int64_t head_dim) { return head_dim <= 64 ? 64 : head_dim <= 128 ? 128 : 256; }

// Stretches of sixteen queries that an item handles per head: with few heads per KV head more, so
// that widening a tile of keys is shared by about eight vectors of queries.
int64_t stretches_per_item(int64_t group) { return std::clamp<int64_t>(8 / group, 1, 4); }

// Floats of one worker's scratch, part by part.
struct ScratchSizes {
  int64_t tile, q, out, scores, stats, angle, norm, heads;
  int64_t total() const {
    return 2 * tile + q + out + scores + 2 * stats + 2 * angle + 2 * norm + heads;
  }
};
ScratchSizes sizes_of(const AttentionAttrs& a) {
  const int64_t ld = padded_head(a.head_dim), group = a.heads / a.kv_heads;
  const int64_t vectors = group * stretches_per_item(group), rows = vectors * kQueryVector;
  return {kKeyTile * ld, rows * ld,
          rows * ld,     std::max<int64_t>(kKeyTile * kQueryVector, group * kKeyTile),
          rows,          kMaxHeadDim,
          kMaxHeadDim,   kQueryVector * ld};
}

// Maximum, sum (padded) and outputs of the heads of one part of a decode item.
int64_t partial_floats(const AttentionAttrs& a) {
  const int64_t group = a.heads / a.kv_heads;
  return (2 * group + 15) / 16 * 16 + group * padded_head(a.head_dim);
}

}  // namespace

struct TunedAttention::Scratch {
  float *k, *v, *q, *out, *scores, *max, *sum, *cos, *sin, *q_norm, *k_norm, *heads;
};
struct TunedAttention::Running {
  float *max, *sum, *out;
};

TunedAttention::TunedAttention(const OpSignature& s, const AttentionKernels& kernels, int workers)
    : a_(AttentionAttrs::from(s.attrs)),
      kernels_(kernels),
      workers_(workers),
      q_norm_dtype_(a_.qk_norm ? s.inputs[4].dtype : DType::f32),
      k_norm_dtype_(a_.qk_norm ? s.inputs[5].dtype : DType::f32) {
  if (a_.has_rope) tables_.emplace(a_.rope);
}

size_t TunedAttention::workspace_bytes(const AttentionAttrs& a, int workers) {
  const int64_t floats = workers * (sizes_of(a).total() + 6 * partial_floats(a));
  return static_cast<size_t>(floats) * sizeof(float);
}

TunedAttention::Scratch TunedAttention::scratch_of(std::byte* workspace, int worker) const {
  const ScratchSizes n = sizes_of(a_);
  auto* p = reinterpret_cast<float*>(workspace) + worker * n.total();
  const auto take = [&p](int64_t count) {
    float* part = p;
    p += count;
    return part;
  };
  Scratch w;
  w.k = take(n.tile), w.v = take(n.tile), w.q = take(n.q), w.out = take(n.out);
  w.scores = take(n.scores), w.max = take(n.stats), w.sum = take(n.stats);
  w.cos = take(n.angle), w.sin = take(n.angle), w.q_norm = take(n.norm), w.k_norm = take(n.norm);
  w.heads = take(n.heads);
  return w;
}

TunedAttention::Running TunedAttention::partial(std::byte* workspace, int64_t unit, int64_t part,
                                                int64_t parts) const {
  const int64_t group = a_.heads / a_.kv_heads;
  auto* p = reinterpret_cast<float*>(workspace) + workers_ * sizes_of(a_).total() +
            (unit * parts + part) * partial_floats(a_);
  return {p, p + group, p + (2 * group + 15) / 16 * 16};
}

void TunedAttention::launch(const LaunchArgs& args, ExecContext& exec) const {
  auto& e = static_cast<CpuExec&>(exec);
  const Scratch w = scratch_of(args.workspace, e.worker);
  load_norms(args, w);
  const int64_t group = a_.heads / a_.kv_heads;
  const AttentionWork work(*args.step, a_.kv_heads, stretches_per_item(group) * kQueryVector,
                           a_.window, e.workers);
  if (work.shared()) {
    append_all(args, w, e);
    e.barrier();
  }
  for (int64_t i = e.next_task(); i < work.items(); i = e.next_task()) {
    const AttentionItem item = work.item(i);
    if (!work.shared())
      append(args, w, item.sequence, item.kv_head, 0, work.queries(item.sequence));
    if (item.decode)
      decode(args, w, work, item);
    else
      prefill(args, w, item);
  }
  if (work.split()) {
    e.barrier();
    merge(args, work, e);
  }
}

void TunedAttention::load_norms(const LaunchArgs& args, const Scratch& w) const {
  if (!a_.qk_norm) return;
  kernels_.widen(q_norm_dtype_, args.in[4].data, 1, a_.head_dim, w.q_norm, kMaxHeadDim);
  kernels_.widen(k_norm_dtype_, args.in[5].data, 1, a_.head_dim, w.k_norm, kMaxHeadDim);
}

const RopeTable* TunedAttention::table_for(int64_t length, RopeTable& scratch) const {
  return tables_ ? &tables_->at(length, scratch) : nullptr;
}

// The scratch's cos and sin become those of a token.
void TunedAttention::turn_to(const LaunchArgs& args, const Scratch& w, int64_t token,
                             const RopeTable* table) const {
  if (table == nullptr) return;
  const auto position = static_cast<float>(args.in[3].as<const int32_t>()[token]);
  kernels_.angles(table->inv_freq.data(), a_.rope.rotary_dim / 2, position, table->magnitude, w.cos,
                  w.sin);
}

std::byte* TunedAttention::cache_row(const StepContext& step, std::byte* pool, int32_t sequence,
                                     int64_t kv_head, int64_t place) const {
  const int64_t size = step.kv.block_size;
  const int64_t block = step.block_table[sequence * step.block_table_stride + place / size];
  const int64_t row = (block * a_.kv_heads + kv_head) * size + place % size;
  return pool + row * static_cast<int64_t>(row_bytes(step.kv.dtype, a_.head_dim));
}

// New keys and values [begin, end) of a sequence, of one KV head or (-1) of all, into the cache.
void TunedAttention::append(const LaunchArgs& args, const Scratch& w, int32_t sequence,
                            int64_t kv_head, int64_t begin, int64_t end) const {
  const StepContext& step = *args.step;
  const KvLayerView& layer = step.kv.layers[static_cast<size_t>(a_.layer)];
  const int64_t first = step.query_begin[sequence];
  const int64_t past = step.context_len[sequence] - (step.query_begin[sequence + 1] - first);
  RopeTable own;
  const RopeTable* table = table_for(step.context_len[sequence], own);
  const HeadForm form{a_.head_dim,
                      a_.rope.rotary_dim,
                      a_.rope.neox,
                      a_.qk_norm,
                      static_cast<float>(a_.qk_norm_eps),
                      1};
  for (int64_t i = begin; i < end; ++i) {
    turn_to(args, w, first + i, table);
    for (int64_t h = kv_head < 0 ? 0 : kv_head; h < (kv_head < 0 ? a_.kv_heads : kv_head + 1);
         ++h) {
      const Operand &k = args.in[1], &v = args.in[2];
      kernels_.head(form, k.as<const float>() + (first + i) * k.row_stride + h * a_.head_dim,
                    w.k_norm, table ? w.cos : nullptr, w.sin, w.heads);
      kernels_.narrow(step.kv.dtype, w.heads, a_.head_dim,
                      cache_row(step, layer.k, sequence, h, past + i));
      kernels_.narrow(step.kv.dtype,
                      v.as<const float>() + (first + i) * v.row_stride + h * a_.head_dim,
                      a_.head_dim, cache_row(step, layer.v, sequence, h, past + i));
    }
  }
}

void TunedAttention::append_all(const LaunchArgs& args, const Scratch& w, CpuExec& e) const {
  constexpr int64_t kTokens = 8;
  const StepContext& step = *args.step;
  int64_t task = 0, mine = e.next_task();
  for (int32_t s = 0; s < step.sequences; ++s) {
    const int64_t queries = step.query_begin[s + 1] - step.query_begin[s];
    for (int64_t begin = 0; begin < queries; begin += kTokens, ++task) {
      if (task != mine) continue;
      append(args, w, s, -1, begin, std::min(begin + kTokens, queries));
      mine = e.next_task();
    }
  }
}

// Keys and values [begin, end) as float rows; the row after an odd number of values is zero.
void TunedAttention::load_keys(const StepContext& step, const Scratch& w, int32_t sequence,
                               int64_t kv_head, int64_t begin, int64_t end) const {
  const KvLayerView& layer = step.kv.layers[static_cast<size_t>(a_.layer)];
  const int64_t ld = padded_head(a_.head_dim), size = step.kv.block_size;
  for (int64_t at = begin; at < end;) {
    const int64_t run = std::min(end - at, size - at % size);
    kernels_.widen(step.kv.dtype, cache_row(step, layer.k, sequence, kv_head, at), run, a_.head_dim,
                   w.k + (at - begin) * ld, ld);
    kernels_.widen(step.kv.dtype, cache_row(step, layer.v, sequence, kv_head, at), run, a_.head_dim,
                   w.v + (at - begin) * ld, ld);
    at += run;
  }
  if ((end - begin) % 2 != 0)
    std::memset(w.v + (end - begin) * ld, 0, static_cast<size_t>(ld) * sizeof(float));
}

// Asks for keys and values [begin, end) before they are needed: a page of the cache is too short
// for the hardware to see a stream in it.
void TunedAttention::prefetch_keys(const StepContext& step, int32_t sequence, int64_t kv_head,
                                   int64_t begin, int64_t end) const {
  const KvLayerView& layer = step.kv.layers[static_cast<size_t>(a_.layer)];
  const int64_t size = step.kv.block_size;
  const auto bytes = static_cast<int64_t>(row_bytes(step.kv.dtype, a_.head_dim));
  for (int64_t at = begin; at < end;) {
    const int64_t run = std::min(end - at, size - at % size);
    const std::byte* k = cache_row(step, layer.k, sequence, kv_head, at);
    const std::byte* v = cache_row(step, layer.v, sequence, kv_head, at);
    for (int64_t i = 0; i < run * bytes; i += 64) __builtin_prefetch(k + i, 0, 2);
    for (int64_t i = 0; i < run * bytes; i += 64) __builtin_prefetch(v + i, 0, 2);
    at += run;
  }
}

void TunedAttention::load_query(const LaunchArgs& args, const Scratch& w, int64_t token,
                                int64_t head, float* out) const {
  const HeadForm form{a_.head_dim,
                      a_.rope.rotary_dim,
                      a_.rope.neox,
                      a_.qk_norm,
                      static_cast<float>(a_.qk_norm_eps),
                      static_cast<float>(a_.scale)};
  const Operand& q = args.in[0];
  kernels_.head(form, q.as<const float>() + token * q.row_stride + head * a_.head_dim, w.q_norm,
                tables_ ? w.cos : nullptr, w.sin, out);
}

// Queries of an item to [stretch][head of the group][head_dim][16]; missing ones are zero.
void TunedAttention::load_queries(const LaunchArgs& args, const Scratch& w,
                                  const AttentionItem& item) const {
  const StepContext& step = *args.step;
  const int64_t group = a_.heads / a_.kv_heads, ld = padded_head(a_.head_dim);
  RopeTable own;
  const RopeTable* table = table_for(step.context_len[item.sequence], own);
  const int64_t vectors = (item.query_end - item.query_begin + 15) / 16 * group;
  std::memset(w.q, 0, static_cast<size_t>(vectors * ld * kQueryVector) * sizeof(float));
  for (int64_t i = item.query_begin; i < item.query_end; ++i) {
    const int64_t token = step.query_begin[item.sequence] + i, at = i - item.query_begin;
    turn_to(args, w, token, table);
    for (int64_t g = 0; g < group; ++g) {
      load_query(args, w, token, item.kv_head * group + g, w.heads);
      float* column = w.q + (at / 16 * group + g) * ld * 16 + at % 16;
      for (int64_t d = 0; d < a_.head_dim; ++d) column[d * 16] = w.heads[d];
    }
  }
}

void TunedAttention::prefill(const LaunchArgs& args, const Scratch& w,
                             const AttentionItem& item) const {
  const StepContext& step = *args.step;
  const int64_t group = a_.heads / a_.kv_heads, ld = padded_head(a_.head_dim);
  const int64_t queries = item.query_end - item.query_begin, vectors = (queries + 15) / 16 * group;
  const int64_t past = step.context_len[item.sequence] -
                       (step.query_begin[item.sequence + 1] - step.query_begin[item.sequence]);
  load_queries(args, w, item);
  std::fill(w.max, w.max + vectors * 16, kMaskedScore);
  std::fill(w.sum, w.sum + vectors * 16, 0.0f);
  std::fill(w.out, w.out + vectors * 16 * ld, 0.0f);
  PrefillTile t;
  t.head_dim = a_.head_dim, t.ld = ld, t.k = w.k, t.v = w.v, t.scores = w.scores;
  t.softcap = static_cast<float>(a_.softcap), t.window = static_cast<float>(a_.window);
  const int64_t first = past + item.query_begin, end = past + item.query_end;
  const int64_t oldest = a_.window > 0 ? std::max<int64_t>(0, first - a_.window + 1) : 0;
  for (int64_t key = oldest; key < end; key += kKeyTile) {
    load_keys(step, w, item.sequence, item.kv_head, key, std::min(key + kKeyTile, end));
    for (int64_t v = 0; v < vectors; ++v) {
      const int64_t query = first + v / group * 16, last = std::min(query + 16, end) - 1;
      if (key > last || (a_.window > 0 && key + kKeyTile <= query - a_.window + 1)) continue;
      t.keys = static_cast<int>(std::min<int64_t>(kKeyTile, last + 1 - key));
      t.masked = key + t.keys - 1 > query || (a_.window > 0 && key <= last - a_.window);
      t.query = static_cast<float>(query), t.key = static_cast<float>(key);
      t.q = w.q + v * ld * 16, t.out = w.out + v * 16 * ld;
      t.max = w.max + v * 16, t.sum = w.sum + v * 16;
      kernels_.prefill(t);
    }
  }
  finish_prefill(args, w, item);
}

void TunedAttention::finish_prefill(const LaunchArgs& args, const Scratch& w,
                                    const AttentionItem& item) const {
  const int64_t group = a_.heads / a_.kv_heads, ld = padded_head(a_.head_dim);
  for (int64_t i = 0; i < item.query_end - item.query_begin; ++i)
    for (int64_t g = 0; g < group; ++g) {
      const int64_t row = (i / 16 * group + g) * 16 + i % 16;
      write_head(args, args.step->query_begin[item.sequence] + item.query_begin + i,
                 item.kv_head * group + g, w.out + row * ld, 1 / w.sum[row]);
    }
}

void TunedAttention::write_head(const LaunchArgs& args, int64_t token, int64_t head,
                                const float* acc, float factor) const {
  const Operand& y = args.out[0];
  kernels_.scale(acc, factor, a_.head_dim,
                 y.as<float>() + token * y.row_stride + head * a_.head_dim);
}

void TunedAttention::decode(const LaunchArgs& args, const Scratch& w, const AttentionWork& work,
                            const AttentionItem& item) const {
  const StepContext& step = *args.step;
  const int64_t group = a_.heads / a_.kv_heads, ld = padded_head(a_.head_dim);
  const int64_t token = step.query_begin[item.sequence], length = step.context_len[item.sequence];
  const int64_t oldest = work.first_key(item.sequence), keys = length - oldest;
  const int64_t begin = oldest + keys * item.part / item.parts;
  const int64_t end = oldest + keys * (item.part + 1) / item.parts;
  prefetch_keys(step, item.sequence, item.kv_head, begin, std::min(begin + 2 * kKeyTile, end));
  RopeTable own;
  turn_to(args, w, token, table_for(length, own));
  std::memset(w.q, 0, static_cast<size_t>(group * ld) * sizeof(float));
  for (int64_t g = 0; g < group; ++g)
    load_query(args, w, token, item.kv_head * group + g, w.q + g * ld);
  const bool whole = item.parts == 1;
  const Running r = whole ? Running{w.max, w.sum, w.out}
                          : partial(args.workspace, item.unit, item.part, work.most_parts());
  std::fill(r.max, r.max + group, kMaskedScore);
  std::fill(r.sum, r.sum + group, 0.0f);
  std::fill(r.out, r.out + group * ld, 0.0f);
  DecodeTile t;
  t.head_dim = a_.head_dim, t.ld = ld, t.heads = static_cast<int>(group);
  t.q = w.q, t.k = w.k, t.v = w.v, t.scores = w.scores;
  t.softcap = static_cast<float>(a_.softcap);
  t.max = r.max, t.sum = r.sum, t.out = r.out;
  for (int64_t key = begin; key < end; key += kKeyTile) {
    const int64_t stop = std::min(key + kKeyTile, end);
    prefetch_keys(step, item.sequence, item.kv_head, stop + kKeyTile,
                  std::min(stop + 2 * kKeyTile, end));
    load_keys(step, w, item.sequence, item.kv_head, key, stop);
    t.keys = static_cast<int>(stop - key);
    kernels_.decode(t);
  }
  if (!whole) return;
  for (int64_t g = 0; g < group; ++g)
    write_head(args, token, item.kv_head * group + g, r.out + g * ld, 1 / r.sum[g]);
}

// Parts of a decode item into its output: each weighs by its sum and its distance to the maximum.
void TunedAttention::merge(const LaunchArgs& args, const AttentionWork& work, CpuExec& e) const {
  const StepContext& step = *args.step;
  const int64_t group = a_.heads / a_.kv_heads, ld = padded_head(a_.head_dim);
  int64_t unit = 0, mine = e.next_task();
  for (int32_t s = 0; s < step.sequences; ++s) {
    if (work.queries(s) != 1) continue;
    const int64_t parts = work.parts(s);
    for (int64_t h = 0; h < a_.kv_heads; ++h, ++unit) {
      if (unit != mine) continue;
      mine = e.next_task();
      if (parts == 1) continue;
      const Running first = partial(args.workspace, unit, 0, work.most_parts());
      for (int64_t g = 0; g < group; ++g) {
        float max = first.max[g];
        for (int64_t p = 1; p < parts; ++p)
          max = std::max(max, partial(args.workspace, unit, p, work.most_parts()).max[g]);
        float sum = 0;
        for (int64_t p = 0; p < parts; ++p) {
          const Running r = partial(args.workspace, unit, p, work.most_parts());
          const float factor = std::exp(r.max[g] - max);
          sum += factor * r.sum[g];
          for (int64_t d = 0; d < a_.head_dim; ++d) {
            float& out = first.out[g * ld + d];
            out = (p == 0 ? 0 : out) + factor * r.out[g * ld + d];
          }
        }
        write_head(args, step.query_begin[s], h * group + g, first.out + g * ld, 1 / sum);
      }
    }
  }
}

}  // namespace tokamak
