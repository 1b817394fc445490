// One attention op bound to the kernels of an ISA level.
#pragma once
#include <optional>
#include <vector>

#include "backend/cpu/attention/attention_work.h"
#include "backend/cpu/cpu_exec.h"
#include "backend/rope_tables.h"
#include "ops/attention.h"

namespace tokamak {

// A row of work is one head of one query of an item; rows are numbered query by query.
class TunedAttention final : public Kernel {
 public:
  TunedAttention(const OpSignature& signature, const AttentionKernels& kernels, int workers);
  void launch(const LaunchArgs& args, ExecContext& exec) const override;
  struct Scratch;  // one worker's part of the workspace
  // Of a step of `tokens`.
  static size_t workspace_bytes(const AttentionAttrs& attrs, const AttentionKernels& kernels,
                                int workers, int64_t tokens);

 private:
  struct Running {  // maximum, sum and output of the heads of a decode item
    float *max, *sum, *out;
  };
  // Queries of all prompts as PairTile has them, a KV head's one after the other, and their starts.
  struct PackedQueries {
    uint16_t* q;   // [kv_heads][tokens][group][width]
    float* start;  // [kv_heads][tokens][group]
  };
  PackedQueries packed_queries(const LaunchArgs& args) const;
  int64_t group() const { return a_.heads / a_.kv_heads; }
  Scratch scratch_of(std::byte* workspace, int worker) const;
  Running slot(std::byte* workspace, int64_t number) const;
  void load_norms(const LaunchArgs& args, const Scratch& w) const;
  void turn_to(const LaunchArgs& args, const Scratch& w, int64_t token,
               const RopeTable* table) const;
  const RopeTable* table_for(int64_t length, RopeTable& scratch) const;
  std::byte* cache_row(const StepContext& step, std::byte* pool, int32_t sequence, int64_t kv_head,
                       int64_t place) const;
  void append(const LaunchArgs& args, const Scratch& w, int32_t sequence, int64_t kv_head,
              int64_t begin, int64_t end) const;
  void pack_queries(const LaunchArgs& args, const Scratch& w, int64_t token, int64_t kv_head) const;
  void append_all(const LaunchArgs& args, const Scratch& w, const AttentionWork& work,
                  CpuExec& exec) const;
  void load_query(const LaunchArgs& args, const Scratch& w, int64_t token, int64_t head, float unit,
                  float* out) const;
  void write_head(const LaunchArgs& args, int64_t token, int64_t head, const float* acc,
                  float factor) const;

  // attention_prefill.cc
  void prefill(const LaunchArgs& args, const Scratch& w, const AttentionItem& item) const;
  void load_queries(const LaunchArgs& args, const Scratch& w, const AttentionItem& item) const;
  void fill_slopes(const Scratch& w, int64_t kv_head, int64_t rows, float unit) const;
  void load_keys(const StepContext& step, const Scratch& w, int32_t sequence, int64_t kv_head,
                 int64_t begin, int64_t end) const;
  void float_chunk(const StepContext& step, const Scratch& w, const AttentionItem& item,
                   int64_t begin, int64_t end) const;
  void pack_tile(const StepContext& step, const AttentionItem& item, int64_t begin, int64_t end,
                 uint16_t* k, uint16_t* v) const;
  void pair_chunk(const LaunchArgs& args, const Scratch& w, const AttentionItem& item,
                  int64_t begin, int64_t end) const;
  void take_queries(const LaunchArgs& args, const Scratch& w, const AttentionItem& item) const;
  void finish_prefill(const LaunchArgs& args, const Scratch& w, const AttentionItem& item,
                      bool pairs) const;

  // attention_decode.cc
  void decode_all(const LaunchArgs& args, const Scratch& w, const AttentionWork& work,
                  AttentionWork::Cursor& cursor, int64_t first, CpuExec& exec) const;
  void decode(const LaunchArgs& args, const Scratch& w, const AttentionWork& work,
              const AttentionItem& item, const AttentionItem* next) const;
  int find_runs(const StepContext& step, const AttentionItem& item, int64_t begin, int64_t end,
                KeyRun* runs) const;
  FetchPlan plan_fetch(const StepContext& step, std::span<const KeyRun> runs,
                       FetchRun* fetches) const;
  void merge(const LaunchArgs& args, const Scratch& w, const AttentionWork& work,
             CpuExec& exec) const;

  const KvLayerView& layer_of(const StepContext& step) const {
    return step.kv.layers[static_cast<size_t>(a_.layer)];
  }
  bool in_pairs(const StepContext& step) const {
    return kernels_.pairs != nullptr && step.kv.dtype != DType::f32;
  }

  const AttentionAttrs a_;
  const AttentionKernels& kernels_;
  const int workers_;
  const DType q_norm_dtype_, k_norm_dtype_;
  std::optional<RopeTables> tables_;
  std::vector<float> slopes_;  // of ALiBi, per head
};

}  // namespace tokamak
