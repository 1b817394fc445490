#include "engine/numerics.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <sstream>

#include "ops/linear.h"

namespace tokamak {
namespace {

constexpr std::array<std::string_view, 6> kKindNames = {"qkv",  "attention_out", "gate_up",
                                                        "down", "lm_head",       "other"};

bool is_linear(const PlanStep& step) { return step.op == Op::linear || step.op == Op::linear_glu; }

}  // namespace

std::string_view name(LinearKind kind) { return kKindNames.at(static_cast<size_t>(kind)); }

LinearKind linear_kind(const Plan& plan, const PlanStep& step) {
  const std::string& s = step.name;
  if (step.outputs.at(0) == plan.logits) return LinearKind::lm_head;
  if (s.ends_with(".attention.dense")) return LinearKind::attention_out;
  if (s.find(".attention.") != std::string::npos) return LinearKind::qkv;
  if (s.ends_with(".mlp.proj")) return LinearKind::down;
  if (s.find(".mlp.") != std::string::npos) return LinearKind::gate_up;
  return LinearKind::other;
}

// docs/numerics.md has what each kind was measured to cost.
bool eight_bits_by_default(LinearKind kind, DType weights) {
  if (weights == DType::f8_row) return kind != LinearKind::lm_head;  // FP8 on both sides
  const bool scale_per_32 = is_block_format(weights) && weights <= DType::q6_k;
  return kind == LinearKind::attention_out && (scale_per_32 || weights == DType::int8a_g32);
}

std::vector<LinearKind> kinds_of_8_bits(const std::string& activation_bits) {
  std::vector<LinearKind> kinds;
  if (activation_bits == "16") return kinds;
  if (activation_bits == "auto") {
    for (size_t i = 0; i < kKindNames.size(); ++i)
      if (eight_bits_by_default(static_cast<LinearKind>(i), DType::q4_1))
        kinds.push_back(static_cast<LinearKind>(i));
    return kinds;
  }
  if (activation_bits == "8") {
    for (size_t i = 0; i < kKindNames.size(); ++i) kinds.push_back(static_cast<LinearKind>(i));
    return kinds;
  }
  std::istringstream list(activation_bits);
  for (std::string item; std::getline(list, item, ',');) {
    const auto it = std::find(kKindNames.begin(), kKindNames.end(), item);
    if (it == kKindNames.end())
      fail("--activation_bits '{}': '{}' is unknown; known: auto, 8, 16, or some of {}",
           activation_bits, item, fmt::join(kKindNames, ","));
    kinds.push_back(static_cast<LinearKind>(it - kKindNames.begin()));
  }
  if (kinds.empty())
    fail("--activation_bits is empty; known: auto, 8, 16, or some of {}",
         fmt::join(kKindNames, ","));
  return kinds;
}

void set_activation_bits(Plan& plan, const std::string& activation_bits) {
  const std::vector<LinearKind> kinds = kinds_of_8_bits(activation_bits);
  const auto weights = [&](const PlanStep& step) {
    return plan.values[static_cast<size_t>(step.inputs.at(1))].type.dtype;
  };
  for (PlanStep& step : plan.steps) {
    if (!is_linear(step)) continue;
    const LinearKind kind = linear_kind(plan, step);
    const bool eight = activation_bits == "auto"
                           ? eight_bits_by_default(kind, weights(step))
                           : std::find(kinds.begin(), kinds.end(), kind) != kinds.end();
    if (eight) step.attrs.set("activation_bits", int64_t{8});
  }
}

int64_t activation_bits(const PlanStep& step) {
  return LinearAttrs::from(step.attrs).activation_bits;
}

void set_deterministic(Plan& plan) {
  for (PlanStep& step : plan.steps)
    if (is_linear(step) || step.op == Op::attention) step.attrs.set("deterministic", true);
}

bool is_deterministic(const Plan& plan) {
  return std::any_of(plan.steps.begin(), plan.steps.end(), [](const PlanStep& step) {
    return (is_linear(step) || step.op == Op::attention) &&
           step.attrs.get_or<bool>("deterministic", false);
  });
}

}  // namespace tokamak
