#include "engine/memory_plan.h"

#include <gtest/gtest.h>

#include <random>

#include "engine/plan_check.h"

namespace tokamak {
namespace {

// Steps over random earlier values; some outputs are seen through views, some are debug outputs.
Plan random_plan(std::mt19937& random) {
  Plan plan;
  std::vector<int32_t> made;
  const auto width = [&] { return int64_t{1} + static_cast<int64_t>(random() % 300); };
  const int steps = 2 + static_cast<int>(random() % 40);
  for (int s = 0; s < steps; ++s) {
    PlanStep step;
    for (int i = 0; i < 3 && !made.empty(); ++i)
      step.inputs.push_back(made[random() % made.size()]);
    const int outputs = 1 + static_cast<int>(random() % 2);
    for (int o = 0; o < outputs; ++o) {
      const Symbol rows = random() % 5 == 0 ? Symbol::sequences : Symbol::tokens;
      plan.values.push_back({"", {DType::f32, {rows, width()}}});
      step.outputs.push_back(static_cast<int32_t>(plan.values.size()) - 1);
      made.push_back(step.outputs.back());
    }
    if (random() % 3 == 0) {
      const int32_t base = made[random() % made.size()];
      plan.values.push_back({"", plan.values[base].type, Storage::view, base});
      made.push_back(static_cast<int32_t>(plan.values.size()) - 1);
    }
    plan.steps.push_back(std::move(step));
  }
  for (const int32_t m : made)
    if (random() % 10 == 0) plan.debug_outputs.push_back(m);
  plan.logits = plan.steps.back().outputs[0];
  return plan;
}

// For every step, the values that must be readable: made so far and still needed.
std::vector<bool> alive_at(const Plan& plan, size_t step) {
  std::vector<bool> alive(plan.values.size());
  std::vector<bool> made(plan.values.size());
  for (size_t s = 0; s <= step; ++s)
    for (const int32_t o : plan.steps[s].outputs) made[o] = true;
  const auto need = [&](int32_t v) { alive[storage_root(plan, v)] = made[storage_root(plan, v)]; };
  for (const int32_t o : plan.steps[step].outputs) need(o);
  for (size_t s = step; s < plan.steps.size(); ++s)
    for (const int32_t i : plan.steps[s].inputs) need(i);
  for (const int32_t d : plan.debug_outputs) need(d);
  need(plan.logits);
  return alive;
}

TEST(MemoryPlan, LiveValuesNeverOverlap) {
  std::mt19937 random(7);
  for (int round = 0; round < 200; ++round) {
    const Plan plan = random_plan(random);
    const int64_t tokens = 1 + static_cast<int64_t>(random() % 100), rows = 1 + tokens / 2;
    const MemoryPlan memory = plan_memory(plan, tokens, rows);
    int64_t peak = 0;
    for (size_t s = 0; s < plan.steps.size(); ++s) {
      const std::vector<bool> alive = alive_at(plan, s);
      std::vector<std::pair<int64_t, int64_t>> used;
      int64_t sum = 0;
      for (size_t v = 0; v < alive.size(); ++v) {
        if (!alive[v]) continue;
        const int64_t bytes = value_bytes(plan.values[v].type, tokens, rows);
        ASSERT_GE(memory.offsets[v], 0);
        ASSERT_EQ(memory.offsets[v] % kActivationAlignment, 0);
        ASSERT_LE(memory.offsets[v] + bytes, memory.bytes);
        used.emplace_back(memory.offsets[v], memory.offsets[v] + bytes);
        sum += bytes;
      }
      std::sort(used.begin(), used.end());
      for (size_t i = 1; i < used.size(); ++i)
        ASSERT_LE(used[i - 1].second, used[i].first) << "round " << round << " step " << s;
      peak = std::max(peak, sum);
    }
    int64_t all = 0;
    for (const PlanValue& v : plan.values)
      all += value_bytes(v.type, tokens, rows) + kActivationAlignment;
    EXPECT_LE(memory.bytes, all);
    EXPECT_GE(memory.bytes, peak);
  }
}

TEST(MemoryPlan, AChainUsesTwoBuffers) {
  Plan plan;
  for (int i = 0; i < 20; ++i) {
    plan.values.push_back({"", {DType::f32, {Symbol::tokens, 16}}});
    PlanStep step;
    if (i > 0) step.inputs = {i - 1};
    step.outputs = {i};
    plan.steps.push_back(step);
  }
  plan.logits = 19;
  EXPECT_EQ(plan_memory(plan, 8, 1).bytes, 2 * 8 * 16 * 4);
}

TEST(MemoryPlan, ViewsKeepTheirBase) {
  Plan plan;
  for (int i = 0; i < 4; ++i) plan.values.push_back({"", {DType::f32, {Symbol::tokens, 16}}});
  plan.values.push_back({"", {DType::f32, {Symbol::tokens, 8}}, Storage::view, 0, 8});
  plan.steps = {PlanStep{}, PlanStep{}, PlanStep{}, PlanStep{}};
  plan.steps[0].outputs = {0};
  plan.steps[1].outputs = {1};
  plan.steps[2] = {Op::unary, {}, "", {1}, {2}, {}};
  plan.steps[3] = {Op::unary, {}, "", {4, 2}, {3}, {}};  // reads value 0 through its view
  plan.logits = 3;
  EXPECT_EQ(lifetimes(plan)[0].end, 3);
}

}  // namespace
}  // namespace tokamak
