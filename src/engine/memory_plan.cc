#include "engine/memory_plan.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "engine/plan_check.h"

namespace tokamak {
namespace {

struct Block {
  int64_t offset, bytes;
  Lifetime life;
};

bool meet(const Lifetime& a, const Lifetime& b) { return a.begin <= b.end && b.begin <= a.end; }

// The smallest gap among the blocks alive at the same time that holds `bytes`; else their end.
int64_t best_offset(const std::vector<Block>& placed, const Lifetime& life, int64_t bytes) {
  std::vector<std::pair<int64_t, int64_t>> busy;  // [begin, end)
  for (const Block& b : placed)
    if (meet(b.life, life)) busy.emplace_back(b.offset, b.offset + b.bytes);
  std::sort(busy.begin(), busy.end());
  int64_t best = -1, best_gap = std::numeric_limits<int64_t>::max(), end = 0;
  for (const auto& [from, to] : busy) {
    const int64_t gap = from - end;
    if (gap >= bytes && gap < best_gap) {
      best = end;
      best_gap = gap;
    }
    end = std::max(end, to);
  }
  return best >= 0 ? best : end;
}

// Of each value: whether steps with adapters alone make it.
std::vector<bool> of_adapters(const Plan& plan) {
  std::vector<bool> made(plan.values.size()), others(plan.values.size());
  for (const PlanStep& s : plan.steps)
    for (const int32_t o : s.outputs)
      (s.runs == Runs::with_adapters ? made : others)[static_cast<size_t>(o)] = true;
  for (size_t i = 0; i < made.size(); ++i) made[i] = made[i] && !others[i];
  return made;
}

std::string megabytes(int64_t bytes) { return fmt::format("{:>11.1f} MB", bytes / 1e6); }

}  // namespace

std::vector<Lifetime> lifetimes(const Plan& plan) {
  std::vector<Lifetime> life(plan.values.size());
  const auto last = static_cast<int32_t>(plan.steps.size());
  for (int32_t s = 0; s < last; ++s) {
    for (const int32_t o : plan.steps[s].outputs) {
      Lifetime& l = life[storage_root(plan, o)];
      l = {l.begin < 0 ? s : l.begin, s};  // some are made by one step or another, or in two
    }
    for (const int32_t i : plan.steps[s].inputs) {
      Lifetime& l = life[storage_root(plan, i)];
      if (l.begin >= 0) l.end = s;
    }
  }
  for (const int32_t v : {plan.logits, plan.hidden})
    if (v >= 0) life[storage_root(plan, v)].end = last;
  for (const int32_t d : plan.debug_outputs) life[storage_root(plan, d)].end = last;
  return life;
}

int64_t value_bytes(const ValueType& type, int64_t tokens, int64_t rows) {
  int64_t n = 1;
  for (const Dim& d : type.shape) n *= d.resolve(tokens, rows);
  return static_cast<int64_t>(bytes_of(type.dtype, n));
}

MemoryPlan plan_memory(const Plan& plan, int64_t tokens, int64_t rows) {
  const std::vector<Lifetime> life = lifetimes(plan);
  const std::vector<bool> late = of_adapters(plan);
  MemoryPlan result;
  result.offsets.assign(plan.values.size(), -1);
  std::vector<int64_t> bytes(plan.values.size());
  std::vector<int32_t> order;
  for (size_t i = 0; i < plan.values.size(); ++i) {
    if (life[i].begin < 0) continue;
    const int64_t n = value_bytes(plan.values[i].type, tokens, rows);
    bytes[i] = (n + kActivationAlignment - 1) / kActivationAlignment * kActivationAlignment;
    order.push_back(static_cast<int32_t>(i));
  }
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    return late[a] != late[b] ? late[b] : bytes[a] > bytes[b];
  });
  std::vector<Block> placed;
  for (const int32_t i : order) {
    const int64_t offset = best_offset(placed, life[i], bytes[i]);
    placed.push_back({offset, bytes[i], life[i]});
    result.offsets[i] = offset;
    result.bytes = std::max(result.bytes, offset + bytes[i]);
  }
  return result;
}

int64_t kv_bytes_per_token(const Plan& plan) {
  return 2 * int64_t{plan.kv_layers} * plan.kv_heads *
         static_cast<int64_t>(row_bytes(plan.kv_dtype, plan.head_dim));
}

int64_t weight_bytes(const Plan& plan) {
  return std::accumulate(plan.weights.begin(), plan.weights.end(), int64_t{0},
                         [](int64_t n, const PlanWeight& w) { return n + int64_t(w.bytes); });
}

std::string MemoryNeed::line() const {
  const auto gb = [](int64_t bytes) { return static_cast<double>(bytes) / 1e9; };
  return fmt::format(
      "{:.2f} GB: weights {:.2f}, activations {:.2f} (for {} tokens a step), workspace {:.2f}, KV "
      "cache {:.2f} (for {} tokens in {})",
      gb(total()), gb(weights), gb(activations), tokens, gb(workspace),
      gb(kv_per_token * kv_tokens), kv_tokens, kv_dtype);
}

std::string MemoryNeed::table() const {
  std::string s;
  s += fmt::format("  weights     {}\n", megabytes(weights));
  if (ring > 0)
    s += fmt::format(
        "              {}   of them, through which {:.1f} MB of host memory pass in a step\n",
        megabytes(ring), static_cast<double>(host_weights) / 1e6);
  s += fmt::format("  activations {}   for {} tokens and {} rows of logits a step\n",
                   megabytes(activations), tokens, rows);
  s += fmt::format("  workspace   {}\n", megabytes(workspace));
  s += fmt::format("  KV cache    {}   {}, {:.1f} KB a token, {} tokens\n",
                   megabytes(kv_per_token * kv_tokens), kv_dtype, kv_per_token / 1e3, kv_tokens);
  s += fmt::format("  total       {}\n", megabytes(total()));
  return s;
}

}  // namespace tokamak
