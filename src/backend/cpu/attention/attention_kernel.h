// One attention op bound to the kernels of an ISA level.
#pragma once
#include <optional>

#include "backend/cpu/attention/attention_work.h"
#include "backend/cpu/cpu_exec.h"
#include "backend/cpu/rope_tables.h"
#include "ops/attention.h"

namespace tokamak {

class TunedAttention final : public Kernel {
 public:
  TunedAttention(const OpSignature& signature, const AttentionKernels& kernels, int workers);
  void launch(const LaunchArgs& args, ExecContext& exec) const override;
  static size_t workspace_bytes(const AttentionAttrs& attrs, int workers);

 private:
  struct Scratch;  // one worker's part of the workspace
  struct Sequence;
  struct Running;  // where a decode item keeps maximum, sum and output of its heads
  Scratch scratch_of(std::byte* workspace, int worker) const;
  Running partial(std::byte* workspace, int64_t unit, int64_t part, int64_t parts) const;
  void load_norms(const LaunchArgs& args, const Scratch& w) const;
  void turn_to(const LaunchArgs& args, const Scratch& w, int64_t token,
               const RopeTable* table) const;
  const RopeTable* table_for(int64_t length, RopeTable& scratch) const;
  std::byte* cache_row(const StepContext& step, std::byte* pool, int32_t sequence, int64_t kv_head,
                       int64_t place) const;
  void append(const LaunchArgs& args, const Scratch& w, int32_t sequence, int64_t kv_head,
              int64_t begin, int64_t end) const;
  void append_all(const LaunchArgs& args, const Scratch& w, CpuExec& exec) const;
  void load_keys(const StepContext& step, const Scratch& w, int32_t sequence, int64_t kv_head,
                 int64_t begin, int64_t end) const;
  void prefetch_keys(const StepContext& step, int32_t sequence, int64_t kv_head, int64_t begin,
                     int64_t end) const;
  void load_query(const LaunchArgs& args, const Scratch& w, int64_t token, int64_t head,
                  float* out) const;
  void prefill(const LaunchArgs& args, const Scratch& w, const AttentionItem& item) const;
  void load_queries(const LaunchArgs& args, const Scratch& w, const AttentionItem& item) const;
  void finish_prefill(const LaunchArgs& args, const Scratch& w, const AttentionItem& item) const;
  void decode(const LaunchArgs& args, const Scratch& w, const AttentionWork& work,
              const AttentionItem& item) const;
  void merge(const LaunchArgs& args, const AttentionWork& work, CpuExec& exec) const;
  void write_head(const LaunchArgs& args, int64_t token, int64_t head, const float* acc,
                  float factor) const;

  const AttentionAttrs a_;
  const AttentionKernels& kernels_;
  const int workers_;
  const DType q_norm_dtype_, k_norm_dtype_;
  std::optional<RopeTables> tables_;
};

}  // namespace tokamak
