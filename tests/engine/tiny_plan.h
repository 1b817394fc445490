// A language model of two steps' size, made by hand: embedding → linear → gather → logits, with a
// column view on the way.
#pragma once
#include "engine/engine_file.h"
#include "engine/memory_plan.h"
#include "engine/plan_check.h"

namespace tokamak::testing {

inline int32_t add_value(Plan& plan, PlanValue value) {
  plan.values.push_back(std::move(value));
  return static_cast<int32_t>(plan.values.size()) - 1;
}

inline int32_t add_weight(Plan& plan, const std::string& name, std::vector<int64_t> shape) {
  PlanWeight w{{name}, DType::f32, shape, "plain", 0, 4};
  SymShape symbolic;
  for (const int64_t n : shape) {
    symbolic.emplace_back(n);
    w.bytes *= static_cast<uint64_t>(n);
  }
  plan.weights.push_back(w);
  return add_value(plan, {name,
                          {DType::f32, symbolic, true},
                          Storage::weight,
                          static_cast<int32_t>(plan.weights.size()) - 1});
}

inline int32_t add_step(Plan& plan, Op op, Attrs attrs, std::vector<int32_t> inputs) {
  std::vector<ValueType> types;
  for (const int32_t i : inputs) types.push_back(plan.values[i].type);
  PlanStep step{op,
                attrs,
                std::string(name(op)),
                std::move(inputs),
                {},
                {{512, "some.tactic", 1.5, {{"other", 2.25}}}}};
  for (ValueType& t : infer(op, attrs, types))
    step.outputs.push_back(
        add_value(plan, {step.name + std::to_string(plan.values.size()), std::move(t)}));
  plan.steps.push_back(step);
  return step.outputs[0];
}

inline Plan tiny_plan() {
  Plan plan;
  const ValueType ids{DType::i32, {Symbol::tokens}};
  const int32_t tokens = add_value(plan, {"token_ids", ids, Storage::token_ids});
  const int32_t table = add_weight(plan, "table", {12, 8});
  const int32_t up = add_weight(plan, "up", {16, 8});
  const int32_t head = add_weight(plan, "head", {12, 8});
  Attrs scale;
  scale.set("scale", 1.0);
  const int32_t x = add_step(plan, Op::embedding, scale, {tokens, table});
  const int32_t y = add_step(plan, Op::linear, {}, {x, up});
  const int32_t half = add_value(
      plan, {"half", {DType::f32, {Symbol::tokens, 8}}, Storage::view, y, /*column_begin=*/8});
  const int32_t rows = add_step(plan, Op::gather_rows, {}, {half});
  plan.logits = add_step(plan, Op::linear, {}, {rows, head});
  assign_weight_offsets(plan);
  return plan;
}

}  // namespace tokamak::testing
