#include "backend/cpu/attention/attention_kernel.h"

#include <algorithm>

#include "backend/cpu/attention/attention_scratch.h"

namespace tokamak {
namespace {

int64_t scratch_floats(const AttentionAttrs& a, bool pairs) {
  TunedAttention::Scratch w{};
  return w.lay_out(a, pairs, nullptr);
}

}  // namespace

TunedAttention::TunedAttention(const OpSignature& s, const AttentionKernels& kernels, int workers)
    : a_(AttentionAttrs::from(s.attrs)),
      kernels_(kernels),
      workers_(workers),
      q_norm_dtype_(a_.qk_norm ? s.inputs[4].dtype : DType::f32),
      k_norm_dtype_(a_.qk_norm ? s.inputs[5].dtype : DType::f32) {
  if (a_.has_rope) tables_.emplace(a_.rope);
  for (int64_t h = 0; a_.alibi && h < a_.heads; ++h)
    slopes_.push_back(static_cast<float>(alibi_slope(h, a_.heads)));
}

size_t TunedAttention::workspace_bytes(const AttentionAttrs& a, const AttentionKernels& kernels,
                                       int workers, int64_t tokens) {
  const bool pairs = kernels.pairs != nullptr;
  const int64_t floats = workers * scratch_floats(a, pairs) +
                         AttentionWork::most_slots(workers) * slot_floats(a) +
                         (pairs ? tokens * a.heads * (pair_width(a) / 2 + 1) : 0);
  return static_cast<size_t>(floats) * sizeof(float);
}

TunedAttention::PackedQueries TunedAttention::packed_queries(const LaunchArgs& args) const {
  auto* at = reinterpret_cast<float*>(args.workspace) + workers_ * scratch_floats(a_, true) +
             AttentionWork::most_slots(workers_) * slot_floats(a_);
  const int64_t rows = args.step->tokens * a_.heads;
  return {reinterpret_cast<uint16_t*>(at), at + rows * pair_width(a_) / 2};
}

TunedAttention::Scratch TunedAttention::scratch_of(std::byte* workspace, int worker) const {
  const bool pairs = kernels_.pairs != nullptr;
  Scratch w;
  w.lay_out(a_, pairs, reinterpret_cast<float*>(workspace) + worker * scratch_floats(a_, pairs));
  return w;
}

TunedAttention::Running TunedAttention::slot(std::byte* workspace, int64_t number) const {
  auto* p = reinterpret_cast<float*>(workspace) +
            workers_ * scratch_floats(a_, kernels_.pairs != nullptr) + number * slot_floats(a_);
  return {p, p + group(), p + (2 * group() + 15) / 16 * 16};
}

void TunedAttention::launch(const LaunchArgs& args, ExecContext& exec) const {
  auto& e = static_cast<CpuExec&>(exec);
  const Scratch w = scratch_of(args.workspace, e.worker);
  load_norms(args, w);
  const bool pairs = kernels_.pairs != nullptr;
  const AttentionWork work(*args.step, {a_.kv_heads, a_.window, queries_per_item(a_, pairs),
                                        !a_.deterministic, e.workers});
  // In pairs, queries are packed token by token with the keys.
  const bool shared = work.shared() || (in_pairs(*args.step) && work.prefill_items() > 0);
  if (shared) {
    append_all(args, w, work, e);
    e.barrier();
  }
  AttentionWork::Cursor cursor;
  int64_t i = e.next_task();
  for (; i < work.prefill_items(); i = e.next_task()) {
    const AttentionItem item = work.item(i, cursor);
    if (!shared) append(args, w, item.sequence, item.kv_head, 0, work.queries(item.sequence));
    prefill(args, w, item);
  }
  decode_all(args, w, work, cursor, i, e);
  if (work.split()) {
    e.barrier();
    merge(args, w, work, e);
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
  const KvLayerView& layer = layer_of(step);
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
      if (layer.k_scale != 1) kernels_.scale(w.heads, 1 / layer.k_scale, a_.head_dim, w.heads);
      if (step.kv.dtype == DType::f8e4m3)  // as the cache will have it: queries are packed with it
        for (int64_t d = 0; d < a_.head_dim; ++d)
          w.heads[d] = std::clamp(w.heads[d], -448.f, 448.f);
      kernels_.narrow(step.kv.dtype, w.heads, a_.head_dim,
                      cache_row(step, layer.k, sequence, h, past + i));
      const float* value = v.as<const float>() + (first + i) * v.row_stride + h * a_.head_dim;
      if (layer.v_scale != 1) {
        float* scaled = w.heads + padded_head(a_.head_dim);
        kernels_.scale(value, 1 / layer.v_scale, a_.head_dim, scaled);
        value = scaled;
      }
      kernels_.narrow(step.kv.dtype, value, a_.head_dim,
                      cache_row(step, layer.v, sequence, h, past + i));
      if (kv_head < 0 && in_pairs(step)) pack_queries(args, w, first + i, h);
    }
  }
}

// The queries of a token that meet a KV head; the scratch holds its key and the token's angles.
void TunedAttention::pack_queries(const LaunchArgs& args, const Scratch& w, int64_t token,
                                  int64_t kv_head) const {
  const PackedQueries to = packed_queries(args);
  const int64_t first = (kv_head * args.step->tokens + token) * group();
  float* query = w.heads + padded_head(a_.head_dim);
  for (int64_t g = 0; g < group(); ++g) {
    load_query(args, w, token, kv_head * group() + g, kPairUnit, query);
    kernels_.pairs->pack_query(query, w.heads, a_.head_dim, static_cast<float>(a_.softcap),
                               to.q + (first + g) * pair_width(a_), to.start + first + g);
  }
}

// Of all prompts; decodes append their own key.
void TunedAttention::append_all(const LaunchArgs& args, const Scratch& w, const AttentionWork& work,
                                CpuExec& e) const {
  constexpr int64_t kTokens = 8;
  int64_t task = 0, mine = e.next_task();
  for (int32_t s = 0; s < args.step->sequences; ++s) {
    if (work.is_decode(s)) continue;
    const int64_t queries = work.queries(s);
    for (int64_t begin = 0; begin < queries; begin += kTokens, ++task) {
      if (task != mine) continue;
      append(args, w, s, -1, begin, std::min(begin + kTokens, queries));
      mine = e.next_task();
    }
  }
}

// `unit`: what scores are counted in, times the op's scale. Keys in the cache are divided by
// their scale, which the queries take over; outputs take over that of the values.
void TunedAttention::load_query(const LaunchArgs& args, const Scratch& w, int64_t token,
                                int64_t head, float unit, float* out) const {
  const HeadForm form{a_.head_dim,
                      a_.rope.rotary_dim,
                      a_.rope.neox,
                      a_.qk_norm,
                      static_cast<float>(a_.qk_norm_eps),
                      static_cast<float>(a_.scale) * unit * layer_of(*args.step).k_scale};
  const Operand& q = args.in[0];
  kernels_.head(form, q.as<const float>() + token * q.row_stride + head * a_.head_dim, w.q_norm,
                tables_ ? w.cos : nullptr, w.sin, out);
}

void TunedAttention::write_head(const LaunchArgs& args, int64_t token, int64_t head,
                                const float* acc, float factor) const {
  const Operand& y = args.out[0];
  kernels_.scale(acc, factor * layer_of(*args.step).v_scale, a_.head_dim,
                 y.as<float>() + token * y.row_stride + head * a_.head_dim);
}

}  // namespace tokamak
