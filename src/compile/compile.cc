#include "compile/compile.h"

#include <algorithm>

#include "compile/activation_scales.h"
#include "compile/groups.h"
#include "compile/lower.h"
#include "compile/pack.h"
#include "engine/kv_layout.h"
#include "engine/numerics.h"
#include "engine/plan_check.h"
#include "graph/debug.h"
#include "graph/passes/pass.h"

namespace tokamak {
namespace {

constexpr int32_t kManyRows = 256;  // a prompt whose every position wants logits

// The tactic's workspace for the largest step, over all steps.
int64_t workspace_need(const Plan& plan, const Backend& backend, const BuildLimits& limits) {
  size_t most = 0;
  for (const PlanStep& step : plan.steps) {
    const OpSignature s = plan.signature(step);
    const int64_t rows = is_row_step(plan, step) ? limits.max_batch_size : limits.max_num_tokens;
    for (const TacticChoice& c : step.choices)
      if (const Tactic* t = find_tactic(backend, step.op, c.tactic))
        most = std::max(most, t->workspace_bytes(s, rows));
  }
  return static_cast<int64_t>(most);
}

}  // namespace

MemoryNeed memory_need(const Plan& plan, const Backend& backend, const BuildLimits& limits) {
  MemoryNeed need;
  need.tokens = limits.max_num_tokens;
  need.rows = std::min(limits.max_batch_size, limits.max_num_tokens);
  need.kv_tokens = limits.max_batch_size * limits.max_seq_len;
  need.activations = plan_memory(plan, need.tokens, need.rows).bytes;
  need.workspace = workspace_need(plan, backend, limits);
  need.weights = weight_bytes(plan);
  need.kv_per_token = kv_bytes_per_token(plan);
  need.kv_dtype = kv_dtype_name(plan.kv_dtype);
  return need;
}

CompileReport compile_engine(Graph graph, WeightSource& source, Backend& backend,
                             TimingCache& cache, const CompileOptions& options,
                             const std::filesystem::path& engine_file) {
  options.limits.validate();
  if (!options.debug_tensors.empty()) mark_debug(graph, options.debug_tensors);
  run_passes(graph, default_passes());
  Plan plan = lower(graph, {options.kv_dtype});
  set_activation_bits(plan, options.activation_bits);
  set_activation_scales(plan, options.activation_scales);
  if (options.deterministic) set_deterministic(plan);

  TuneOptions tune;
  tune.time = options.tune;
  tune.deterministic = options.deterministic;
  tune.token_buckets = power_buckets(options.limits.max_num_tokens);
  tune.row_buckets = power_buckets(options.limits.max_batch_size);
  if (tune.row_buckets.back() < kManyRows) tune.row_buckets.push_back(kManyRows);
  tune.timer.kv_dtype = options.kv_dtype;
  tune.timer.context = std::min<int64_t>(options.limits.max_seq_len, tune.timer.context);

  CompileReport report;
  report.tuning = choose_tactics(plan, backend, source, cache, tune);
  for (PlanWeight& w : plan.weights) w.bytes = packed_weight_bytes(backend, w);
  assign_weight_offsets(plan);
  check_plan(plan);
  plan.random_weights = options.random_weights;
  EngineWriter writer(engine_file, plan);
  if (plan.random_weights == 0) pack_weights(backend, source, plan, writer);
  writer.commit();
  report.memory = memory_need(plan, backend, options.limits);
  report.steps = static_cast<int>(plan.steps.size());
  return report;
}

}  // namespace tokamak
