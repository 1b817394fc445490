#include "engine/plan_check.h"

#include <algorithm>

#include "engine/kv_layout.h"
#include "ops/attention.h"

namespace tokamak {
namespace {

constexpr int64_t kMaxElements = int64_t{1} << 40;
constexpr size_t kMaxRank = 6;
constexpr size_t kMaxItems = 1'000'000;

// Product of the fixed sizes, bounded so that later arithmetic cannot overflow.
int64_t fixed_elements(const ValueType& type, const std::string& what) {
  int64_t n = 1;
  int symbols = 0;
  for (const Dim& d : type.shape) {
    if (!d.fixed()) {
      ++symbols;
      continue;
    }
    if (d.size <= 0 || d.size > kMaxElements || n > kMaxElements / d.size)
      fail("plan: {} has an impossible shape {}", what, str(type.shape));
    n *= d.size;
  }
  if (type.shape.size() > kMaxRank || symbols > 1)
    fail("plan: {} has an impossible shape {}", what, str(type.shape));
  return n;
}

void check_index(int64_t i, size_t size, const std::string& what) {
  if (i < 0 || static_cast<size_t>(i) >= size)
    fail("plan: {} refers to item {} of {}", what, i, size);
}

void check_weight(const PlanWeight& w) {
  const std::string what = w.names.empty() ? "a weight" : "weight '" + w.names[0] + "'";
  if (w.names.empty()) fail("plan: a weight has no name");
  if (w.shape.empty()) fail("plan: {} has no shape", what);
  SymShape shape;
  for (const int64_t n : w.shape) shape.emplace_back(n);
  fixed_elements({w.dtype, shape, true}, what);
  if (!fits_row(w.dtype, w.shape.back()))
    fail("plan: {} has rows of {} elements, not a multiple of {}'s block of {}", what,
         w.shape.back(), name(w.dtype), row_step(w.dtype));
}

void check_view(const Plan& plan, int32_t id) {
  const PlanValue& v = plan.values[id];
  const std::string what = "view '" + v.name + "'";
  if (v.base < 0 || v.base >= id) fail("plan: {} has base {}", what, v.base);
  const PlanValue& base = plan.values[v.base];
  if (base.storage == Storage::weight || base.type.dtype != v.type.dtype)
    fail("plan: {} differs in kind from its base '{}'", what, base.name);
  const bool same_elements = fixed_elements(v.type, what) == fixed_elements(base.type, what);
  if (is_column_view(plan, id)) {
    if (v.column_begin < 0 || columns(v.type) > columns(base.type) ||
        v.column_begin > columns(base.type) - columns(v.type))
      fail("plan: {} leaves the {} columns of its base", what, columns(base.type));
    return;
  }
  Symbol a = Symbol::none, b = Symbol::none;
  for (const Dim& d : v.type.shape) a = d.fixed() ? a : d.symbol;
  for (const Dim& d : base.type.shape) b = d.fixed() ? b : d.symbol;
  if (!same_elements || a != b || v.column_begin != 0 ||
      row_stride(plan, v.base) != columns(base.type))
    fail("plan: {} is no reshape of its base '{}'", what, base.name);
}

void check_value(const Plan& plan, int32_t id) {
  const PlanValue& v = plan.values[id];
  const std::string what = "value '" + v.name + "'";
  fixed_elements(v.type, what);
  if (v.type.is_weight != (v.storage == Storage::weight)) fail("plan: {} mixes kinds", what);
  if (v.storage != Storage::weight && is_block_format(v.type.dtype))
    fail("plan: {} is an activation of dtype {}", what, name(v.type.dtype));
  switch (v.storage) {
    case Storage::activation:
      return;
    case Storage::view:
      return check_view(plan, id);
    case Storage::token_ids:
    case Storage::positions:
      if (v.type.dtype != DType::i32 || v.type.shape != SymShape{Dim(Symbol::tokens)})
        fail("plan: {} must be i32[tokens], not {}", what, str(v.type));
      return;
    case Storage::input:
      return;
    case Storage::weight:
      break;
  }
  check_index(v.base, plan.weights.size(), what);
  const PlanWeight& w = plan.weights[v.base];
  SymShape shape;
  for (const int64_t n : w.shape) shape.emplace_back(n);
  if (v.type.dtype != w.dtype || v.type.shape != shape)
    fail("plan: {} is {}, its weight {}", what, str(v.type), str(ValueType{w.dtype, shape, true}));
}

void check_choices(const PlanStep& s) {
  if (s.choices.empty()) fail("plan: step '{}' has no tactic", s.name);
  int32_t last = 0;
  for (const TacticChoice& c : s.choices) {
    if (c.bucket <= last) fail("plan: step '{}' has token buckets out of order", s.name);
    last = c.bucket;
  }
}

void check_attention(const Plan& plan, const PlanStep& s) {
  const AttentionAttrs a = AttentionAttrs::from(s.attrs);
  if (a.layer < 0 || a.layer >= plan.kv_layers || a.kv_heads != plan.kv_heads ||
      a.head_dim != plan.head_dim)
    fail("plan: step '{}' uses KV layer {} with {} heads of {}, the cache has {} layers, {} of {}",
         s.name, a.layer, a.kv_heads, a.head_dim, plan.kv_layers, plan.kv_heads, plan.head_dim);
}

void check_steps(const Plan& plan) {
  std::vector<bool> defined(plan.values.size());
  for (size_t i = 0; i < plan.values.size(); ++i) {
    const Storage s = plan.values[i].storage;
    defined[i] = s != Storage::activation && s != Storage::view;
  }
  for (const PlanStep& s : plan.steps) {
    const std::string what = "step '" + s.name + "'";
    OpSignature signature{s.op, s.attrs, {}, {}};
    for (const int32_t i : s.inputs) {
      check_index(i, plan.values.size(), what);
      if (!defined[storage_root(plan, i)])
        fail("plan: {} reads '{}' before it is made", what, plan.values[i].name);
      signature.inputs.push_back(plan.values[i].type);
    }
    const std::vector<ValueType> types = infer(s.op, s.attrs, signature.inputs);
    if (types.size() != s.outputs.size()) fail("plan: {} has {} outputs", what, s.outputs.size());
    for (size_t k = 0; k < types.size(); ++k) {
      const int32_t i = s.outputs[k];
      check_index(i, plan.values.size(), what);
      if (plan.values[i].storage != Storage::activation || defined[i])
        fail("plan: {} writes '{}', which it must not", what, plan.values[i].name);
      if (plan.values[i].type != types[k])
        fail("plan: {} makes {}, the plan says {}", what, str(types[k]), str(plan.values[i].type));
      defined[i] = true;
    }
    if (s.op == Op::attention) check_attention(plan, s);
    check_choices(s);
  }
  for (size_t i = 0; i < plan.values.size(); ++i)
    if (!defined[storage_root(plan, static_cast<int32_t>(i))])
      fail("plan: value '{}' is never made", plan.values[i].name);
}

void check_kv(const Plan& plan) {
  if (plan.kv_layers < 0 || plan.kv_layers > 100'000 || plan.kv_heads < 0 ||
      plan.kv_heads > 100'000 || plan.head_dim < 0 || plan.head_dim > 100'000)
    fail("plan: impossible KV cache of {} layers, {} heads of {}", plan.kv_layers, plan.kv_heads,
         plan.head_dim);
  if (!is_kv_dtype(plan.kv_dtype))
    fail("plan: KV dtype {}, expected f32, f16, bf16, int8_row or f8e4m3", name(plan.kv_dtype));
  if (plan.kv_windows.size() != static_cast<size_t>(plan.kv_layers))
    fail("plan: {} KV windows for {} layers", plan.kv_windows.size(), plan.kv_layers);
}

void check_hidden(const Plan& plan) {
  check_index(plan.hidden, plan.values.size(), "hidden states");
  const PlanValue& v = plan.values[plan.hidden];
  const DType t = v.type.dtype;
  if ((t != DType::f32 && t != DType::f16 && t != DType::bf16) || v.type.shape.size() != 2 ||
      v.type.shape[0] != Dim(Symbol::sequences) || !v.type.shape[1].fixed() ||
      v.storage != Storage::activation)
    fail("plan: hidden states are {}, expected floats of [sequences, hidden]", str(v.type));
}

// A language model has logits; a network has inputs of its own and other outputs.
void check_outputs(const Plan& plan) {
  for (const int32_t i : plan.debug_outputs) {
    check_index(i, plan.values.size(), "debug output");
    const Storage s = plan.values[i].storage;
    if (s != Storage::activation && s != Storage::view) fail("plan: debug output is no activation");
  }
  if (plan.logits == -1 && !plan.debug_outputs.empty() && is_network(plan)) return;
  check_index(plan.logits, plan.values.size(), "logits");
  if (plan.hidden != -1) check_hidden(plan);
  const ValueType& logits = plan.values[plan.logits].type;
  if (logits.dtype != DType::f32 || logits.shape.size() != 2 ||
      logits.shape[0] != Dim(Symbol::sequences) || !logits.shape[1].fixed() ||
      plan.values[plan.logits].storage != Storage::activation)
    fail("plan: logits are {}, expected f32[sequences, vocab]", str(logits));
}

}  // namespace

bool is_network(const Plan& plan) {
  return std::any_of(plan.values.begin(), plan.values.end(),
                     [](const PlanValue& v) { return v.storage == Storage::input; });
}

int64_t columns(const ValueType& type) {
  return type.shape.empty() || !type.shape.back().fixed() ? 1 : type.shape.back().size;
}

bool is_column_view(const Plan& plan, int32_t value) {
  const SymShape& a = plan.values[value].type.shape;
  const SymShape& b = plan.values[plan.values[value].base].type.shape;
  if (a.size() != b.size() || a.empty() || !a.back().fixed() || !b.back().fixed()) return false;
  return std::equal(a.begin(), a.end() - 1, b.begin());
}

int64_t row_stride(const Plan& plan, int32_t value) {
  const PlanValue* v = &plan.values[value];
  while (v->storage == Storage::view && is_column_view(plan, value)) {
    value = v->base;
    v = &plan.values[value];
  }
  return columns(v->type);
}

int32_t storage_root(const Plan& plan, int32_t value) {
  while (plan.values[value].storage == Storage::view) value = plan.values[value].base;
  return value;
}

void check_plan(const Plan& plan) {
  if (plan.values.size() > kMaxItems || plan.steps.size() > kMaxItems ||
      plan.weights.size() > kMaxItems)
    fail("plan: too many items ({} values, {} steps, {} weights)", plan.values.size(),
         plan.steps.size(), plan.weights.size());
  for (const PlanWeight& w : plan.weights) check_weight(w);
  for (size_t i = 0; i < plan.values.size(); ++i) check_value(plan, static_cast<int32_t>(i));
  check_kv(plan);
  check_steps(plan);
  check_outputs(plan);
}

}  // namespace tokamak
