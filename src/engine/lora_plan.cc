#include "engine/lora_plan.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "engine/plan_check.h"
#include "ops/linear.h"
#include "ops/lora.h"

namespace tokamak {
namespace {

constexpr std::array<std::string_view, kLoraKinds> kKindNames = {
    "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"};

// Columns of one linear that one adapter matrix makes.
struct Part {
  LoraKind kind;
  int64_t width;
};

class AddLora {
 public:
  AddLora(Plan& plan, const LoraOptions& options)
      : plan_(plan), options_(options), wanted_(parse_lora_targets(options.targets)) {}

  std::vector<LoraTarget> run() {
    std::vector<PlanStep> before = std::exchange(plan_.steps, {});
    for (PlanStep& step : before) add(std::move(step));
    return std::move(targets_);
  }

 private:
  // The parts of a weight by its checkpoint names; empty when adapters leave it alone.
  std::vector<Part> parts_of(const PlanWeight& w, int64_t& layer) const {
    std::vector<Part> parts;
    const int64_t kv = int64_t{plan_.kv_heads} * plan_.head_dim, rows = w.shape.at(0);
    const bool joined = w.names.size() > 1;
    for (const std::string& name : w.names) {
      constexpr std::string_view kPrefix = "transformer.layers.";
      if (!name.starts_with(kPrefix)) return {};
      const char* begin = name.data() + kPrefix.size();
      const char* end = name.data() + name.size();
      const auto [rest, error] = std::from_chars(begin, end, layer);
      if (error != std::errc() || layer < 0 || layer >= plan_.kv_layers) return {};
      const std::string_view leaf(rest, static_cast<size_t>(end - rest));
      if (leaf == ".attention.qkv.weight" || (joined && leaf == ".attention.q.weight"))
        parts.push_back({LoraKind::q, rows - 2 * kv});
      if (leaf == ".attention.q.weight" && !joined) parts.push_back({LoraKind::q, rows});
      if (leaf == ".attention.qkv.weight" || leaf == ".attention.k.weight")
        parts.push_back({LoraKind::k, kv});
      if (leaf == ".attention.qkv.weight" || leaf == ".attention.v.weight")
        parts.push_back({LoraKind::v, kv});
      if (leaf == ".attention.dense.weight") parts.push_back({LoraKind::o, rows});
      if (leaf == ".mlp.fc.weight") parts.push_back({LoraKind::gate, rows});
      if (leaf == ".mlp.gate.weight") parts.push_back({LoraKind::up, rows});
      if (leaf == ".mlp.proj.weight") parts.push_back({LoraKind::down, rows});
    }
    int64_t sum = 0;
    for (const Part& p : parts) sum += p.width;
    return sum == rows ? parts : std::vector<Part>{};
  }

  bool is_wanted(const Part& p) const { return std::ranges::count(wanted_, p.kind) > 0; }

  int32_t new_value(const std::string& name, const ValueType& type) {
    plan_.values.push_back({name, type});
    return static_cast<int32_t>(plan_.values.size()) - 1;
  }

  // y += the adapters' products of x.
  void add_sum(const PlanStep& like, int64_t layer, const std::vector<Part>& parts, int32_t x,
               int32_t y) {
    LoraAttrs attrs{{}, {}, options_.max_rank};
    for (const Part& p : parts) {
      attrs.parts.push_back(static_cast<int64_t>(targets_.size()));
      attrs.widths.push_back(p.width);
      targets_.push_back({layer, p.kind, columns(plan_.values[x].type), p.width, is_wanted(p)});
    }
    PlanStep s{Op::lora, attrs.to_attrs(), like.name + ".lora", {x, y}, {y}, like.choices};
    push_adapted(std::move(s));
  }

  // Which tactics run it is settled where the plan is opened.
  void push_adapted(PlanStep s) {
    for (TacticChoice& c : s.choices) c = {c.bucket, "", 0, {}};
    s.runs = Runs::with_adapters;
    plan_.steps.push_back(std::move(s));
  }

  void add(PlanStep step) {
    const bool pair = step.op == Op::linear_glu;
    if (!pair && step.op != Op::linear) return plan_.steps.push_back(std::move(step));
    std::vector<Part> parts[2];
    int64_t layer = -1;
    bool any = false;
    for (int i = 0; i < 1 + pair; ++i) {
      parts[i] = parts_of(plan_.weights[plan_.values[step.inputs[1 + i]].base], layer);
      any = any || std::ranges::any_of(parts[i], [&](const Part& p) { return is_wanted(p); });
    }
    if (!any) return plan_.steps.push_back(std::move(step));
    const LinearAttrs attrs = LinearAttrs::from(step.attrs);
    if (!pair && attrs.activation == Activation::none) {
      plan_.steps.push_back(step);
      return add_sum(step, layer, parts[0], step.inputs[0], step.outputs[0]);
    }
    if (!pair)
      fail("step '{}' has an activation of its own: adapters cannot be added before it", step.name);
    take_apart(std::move(step), attrs, layer, parts);
  }

  // A gated pair: two linears, their adapters, and what joined them.
  void take_apart(PlanStep step, LinearAttrs attrs, int64_t layer,
                  const std::vector<Part> (&parts)[2]) {
    const std::string activation(name(attrs.activation));
    attrs.activation = Activation::none;
    PlanStep join{Op::glu,     Attrs().set("activation", activation), step.name, {}, step.outputs,
                  step.choices};
    std::vector<PlanStep> linears;
    for (int i = 0; i < 2; ++i) {
      PlanStep l{Op::linear, attrs.to_attrs(), step.name, {step.inputs[0], step.inputs[1 + i]},
                 {},         step.choices};
      if (attrs.has_bias) l.inputs.push_back(step.inputs[3 + i]);
      const char* half = i == 0 ? ".fc" : ".gate";
      l.outputs = {
          new_value(plan_.values[step.outputs[0]].name + half, plan_.values[step.outputs[0]].type)};
      join.inputs.push_back(l.outputs[0]);
      linears.push_back(std::move(l));
    }
    const int32_t x = step.inputs[0];
    step.runs = Runs::without_adapters;
    plan_.steps.push_back(std::move(step));
    for (int i = 0; i < 2; ++i) {
      const PlanStep like = linears[i];
      push_adapted(std::move(linears[i]));
      if (!parts[i].empty()) add_sum(like, layer, parts[i], x, like.outputs[0]);
    }
    push_adapted(std::move(join));
  }

  Plan& plan_;
  const LoraOptions& options_;
  const std::vector<LoraKind> wanted_;
  std::vector<LoraTarget> targets_;
};

}  // namespace

std::string_view name(LoraKind kind) { return kKindNames.at(static_cast<size_t>(kind)); }

std::vector<LoraKind> parse_lora_targets(const std::vector<std::string>& names) {
  std::vector<LoraKind> kinds;
  // Hugging Face's names, and TensorRT-LLM's beside them.
  constexpr std::array<std::string_view, kLoraKinds> kOther = {
      "attn_q", "attn_k", "attn_v", "attn_dense", "mlp_h_to_4h", "mlp_gate", "mlp_4h_to_h"};
  for (int i = 0; i < kLoraKinds; ++i) {
    const bool all = names.empty() || std::ranges::count(names, "attn_qkv") * (i < 3) > 0;
    const auto named = [&](std::string_view n) { return std::ranges::count(names, n) > 0; };
    if (all || named(kKindNames[i]) || named(kOther[i])) kinds.push_back(static_cast<LoraKind>(i));
  }
  for (const std::string& n : names)
    if (n != "attn_qkv" && !std::ranges::count(kKindNames, n) && !std::ranges::count(kOther, n))
      fail("--lora_target_modules '{}' is unknown; known: {}, attn_qkv, {}", n,
           fmt::join(kKindNames, ", "), fmt::join(kOther, ", "));
  return kinds;
}

std::vector<LoraTarget> add_lora(Plan& plan, const LoraOptions& options) {
  if (options.max_rank == 0) return {};
  if (options.max_rank < 0 || options.max_rank > kMostLoraRank)
    fail("--max_lora_rank is {}, expected 1 to {} (0: no adapters)", options.max_rank,
         kMostLoraRank);
  if (options.max_loras < 1 || options.max_loras > 4096)
    fail("--max_loras is {}, expected 1 to 4096", options.max_loras);
  std::vector<LoraTarget> targets = AddLora(plan, options).run();
  if (targets.empty()) fail("this engine has no linear that takes LoRA adapters");
  return targets;
}

}  // namespace tokamak
