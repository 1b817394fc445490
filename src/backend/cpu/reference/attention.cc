// attention: one unit of work is one KV head of one sequence. It appends that head's new keys and
// values to the cache, then every query of the group attends over them with a running maximum.
#include <cmath>
#include <limits>

#include "backend/cpu/reference/kv_rows.h"
#include "backend/cpu/reference/reference.h"
#include "backend/cpu/reference/rotate.h"
#include "backend/cpu/reference/rows.h"
#include "backend/rope_tables.h"
#include "ops/attention.h"

namespace tokamak {
namespace {

constexpr int64_t kMaxHeadDim = 1024;  // heads live on the stack

void rms_normalize(double* x, int64_t n, double eps, const Rows& weight) {
  double square = 0;
  for (int64_t i = 0; i < n; ++i) square += x[i] * x[i];
  const double scale = 1 / std::sqrt(square / static_cast<double>(n) + eps);
  for (int64_t i = 0; i < n; ++i) x[i] *= scale * weight.get(0, i);
}

class AttentionKernel final : public Kernel {
 public:
  explicit AttentionKernel(const OpSignature& s) : s_(s), a_(AttentionAttrs::from(s.attrs)) {
    if (a_.has_rope) tables_.emplace(a_.rope);
  }

  void launch(const LaunchArgs& args, ExecContext& exec) const override {
    auto& e = static_cast<CpuExec&>(exec);
    const int64_t units = args.step->sequences * a_.kv_heads;
    for (int64_t u = e.next_task(); u < units; u = e.next_task())
      run_unit(args, static_cast<int32_t>(u / a_.kv_heads), u % a_.kv_heads);
  }

 private:
  // Where key or value j of a sequence lies in a pool.
  std::byte* cache_row(const StepContext& step, std::byte* pool, int32_t seq, int64_t kv_head,
                       int64_t j) const {
    const int64_t size = step.kv.block_size;
    const int64_t block = step.block_table[seq * step.block_table_stride + j / size];
    const int64_t row = (block * a_.kv_heads + kv_head) * size + j % size;
    return pool + row * static_cast<int64_t>(row_bytes(step.kv.dtype, a_.head_dim));
  }

  // Head `head` of token t of q or k: normed and turned.
  void load_head(const LaunchArgs& args, size_t input, int64_t t, int64_t head,
                 const RopeTable* table, double* out) const {
    const Rows x = rows_view(s_.inputs[input], args.in[input]);
    for (int64_t i = 0; i < a_.head_dim; ++i) out[i] = x.get(t, head * a_.head_dim + i);
    if (a_.qk_norm)
      rms_normalize(out, a_.head_dim, a_.qk_norm_eps,
                    rows_view(s_.inputs[4 + input], args.in[4 + input]));
    if (table != nullptr) rotate(out, a_.rope, *table, args.in[3].as<const int32_t>()[t]);
  }

  void append(const LaunchArgs& args, int32_t seq, int64_t kv_head, int64_t t, int64_t j,
              const RopeTable* table) const {
    const StepContext& step = *args.step;
    const KvLayerView& layer = step.kv.layers[static_cast<size_t>(a_.layer)];
    double head[kMaxHeadDim];
    load_head(args, 1, t, kv_head, table, head);
    store_kv_row(step.kv.dtype, head, a_.head_dim, layer.k_scale,
                 cache_row(step, layer.k, seq, kv_head, j));
    const Rows values = rows_view(s_.inputs[2], args.in[2]);
    for (int64_t i = 0; i < a_.head_dim; ++i) head[i] = values.get(t, kv_head * a_.head_dim + i);
    store_kv_row(step.kv.dtype, head, a_.head_dim, layer.v_scale,
                 cache_row(step, layer.v, seq, kv_head, j));
  }

  void run_unit(const LaunchArgs& args, int32_t seq, int64_t kv_head) const {
    const StepContext& step = *args.step;
    const int64_t begin = step.query_begin[seq], queries = step.query_begin[seq + 1] - begin;
    const int64_t past = step.context_len[seq] - queries;
    RopeTable scratch;
    const RopeTable* table = tables_ ? &tables_->at(step.context_len[seq], scratch) : nullptr;
    for (int64_t i = 0; i < queries; ++i) append(args, seq, kv_head, begin + i, past + i, table);
    const int64_t group = a_.heads / a_.kv_heads;
    for (int64_t i = 0; i < queries; ++i)
      for (int64_t g = 0; g < group; ++g)
        attend(args, seq, kv_head, kv_head * group + g, begin + i, past + i, table);
  }

  // Query of token t and head, at place `at` of its sequence.
  void attend(const LaunchArgs& args, int32_t seq, int64_t kv_head, int64_t head, int64_t t,
              int64_t at, const RopeTable* table) const {
    const StepContext& step = *args.step;
    const KvLayerView& layer = step.kv.layers[static_cast<size_t>(a_.layer)];
    double q[kMaxHeadDim], row[kMaxHeadDim], acc[kMaxHeadDim] = {};
    load_head(args, 0, t, head, table, q);
    double max = -std::numeric_limits<double>::infinity(), sum = 0;
    const int64_t first = a_.window > 0 ? std::max<int64_t>(0, at - a_.window + 1) : 0;
    for (int64_t j = first; j <= at; ++j) {
      load_kv_row(step.kv.dtype, cache_row(step, layer.k, seq, kv_head, j), a_.head_dim,
                  layer.k_scale, row);
      double score = 0;
      for (int64_t i = 0; i < a_.head_dim; ++i) score += q[i] * row[i];
      score *= a_.scale;
      if (a_.softcap > 0) score = a_.softcap * std::tanh(score / a_.softcap);
      if (a_.alibi) score += alibi_slope(head, a_.heads) * static_cast<double>(j - at);
      const double new_max = std::max(max, score);
      const double shrink = std::exp(max - new_max), p = std::exp(score - new_max);
      sum = sum * shrink + p;
      load_kv_row(step.kv.dtype, cache_row(step, layer.v, seq, kv_head, j), a_.head_dim,
                  layer.v_scale, row);
      for (int64_t i = 0; i < a_.head_dim; ++i) acc[i] = acc[i] * shrink + p * row[i];
      max = new_max;
    }
    const Rows y = rows_view(s_.outputs[0], args.out[0]);
    for (int64_t i = 0; i < a_.head_dim; ++i) y.set(t, head * a_.head_dim + i, acc[i] / sum);
  }

  const OpSignature s_;
  const AttentionAttrs a_;
  std::optional<RopeTables> tables_;
};

bool fits(const OpSignature& s) {
  for (size_t i = 0; i < s.inputs.size(); ++i)
    if (i != 3 && !is_activation_dtype(s.inputs[i].dtype)) return false;
  return s.attrs.get<int64_t>("head_dim") <= kMaxHeadDim;
}

std::unique_ptr<Kernel> bind(const OpSignature& s) { return std::make_unique<AttentionKernel>(s); }

}  // namespace

void add_reference_attention(CpuRegistry& r) {
  r.add_simple("attention.reference", Op::attention, Isa::reference, fits, bind);
}

}  // namespace tokamak
