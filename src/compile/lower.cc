#include "compile/lower.h"

#include <algorithm>

#include "engine/plan_check.h"
#include "ops/attention.h"

namespace tokamak {
namespace {

class Lowering {
 public:
  Lowering(const Graph& graph, const LowerOptions& options)
      : graph_(graph), network_(options.network) {
    plan_.kv_dtype = options.kv_dtype;
    index_.assign(graph.values().size(), -1);
  }

  Plan run() {
    for (const Node& node : graph_.nodes()) add(node);
    mark_outputs();
    plan_.kv_windows.resize(static_cast<size_t>(plan_.kv_layers));
    for (const auto& [layer, window] : windows_) plan_.kv_windows.at(layer) = window;
    return std::move(plan_);
  }

 private:
  int32_t append(PlanValue value) {
    plan_.values.push_back(std::move(value));
    return static_cast<int32_t>(plan_.values.size()) - 1;
  }

  int32_t input(const Value& v) {
    PlanValue p{v.name, v.type, network_ ? Storage::input : Storage::token_ids};
    if (network_) return append(std::move(p));
    if (v.name == "positions")
      p.storage = Storage::positions;
    else if (v.name != "token_ids")
      fail("graph input '{}' is unknown; a language model has 'token_ids' and 'positions'", v.name);
    return append(std::move(p));
  }

  int32_t weight(const Value& v) {
    PlanWeight w;
    w.names = v.weight_names.empty() ? std::vector<std::string>{v.name} : v.weight_names;
    w.dtype = v.type.dtype;
    for (const Dim& d : v.type.shape) {
      if (!d.fixed()) fail("weight '{}' has the symbolic shape {}", v.name, str(v.type.shape));
      w.shape.push_back(d.size);
    }
    plan_.weights.push_back(std::move(w));
    PlanValue p{v.name, v.type, Storage::weight};
    p.type.is_weight = true;
    p.base = static_cast<int32_t>(plan_.weights.size()) - 1;
    return append(std::move(p));
  }

  // Plan value of a graph value that is read; inputs and weights appear at their first use.
  int32_t use(ValueId id) {
    int32_t& known = index_.at(id);
    if (known < 0) {
      const Value& v = graph_.value(id);
      TOKAMAK_ASSERT_MSG(v.kind != ValueKind::node, "value '{}' is read before it is made", v.name);
      known = v.kind == ValueKind::input ? input(v) : weight(v);
    }
    return known;
  }

  bool add_view(const Node& node) {
    if (node.op != Op::slice && node.op != Op::reshape) return false;
    const int32_t base = use(node.inputs[0]);
    const Value& out = graph_.value(node.outputs[0]);
    if (plan_.values[base].storage == Storage::weight) return false;
    PlanValue v{out.name, out.type, Storage::view, base};
    if (node.op == Op::slice) v.column_begin = node.attrs.get<int64_t>("begin");
    const int32_t id = append(std::move(v));
    const bool rows_whole = row_stride(plan_, base) == columns(plan_.values[base].type);
    if (!is_column_view(plan_, id) && !rows_whole) {  // a reshape of scattered rows moves data
      plan_.values.pop_back();
      return false;
    }
    index_[node.outputs[0]] = id;
    return true;
  }

  void add(const Node& node) {
    if (add_view(node)) return;
    PlanStep step{node.op, node.attrs, node.name, {}, {}, {}};
    for (const ValueId i : node.inputs) step.inputs.push_back(use(i));
    for (const ValueId o : node.outputs) {
      const Value& v = graph_.value(o);
      step.outputs.push_back(index_[o] = append({v.name, v.type, Storage::activation}));
    }
    if (node.op == Op::attention) note_attention(node);
    plan_.steps.push_back(std::move(step));
  }

  void note_attention(const Node& node) {
    if (network_) fail("{}: attention needs the KV cache of a language model", node.name);
    const AttentionAttrs a = AttentionAttrs::from(node.attrs);
    const bool first = plan_.kv_layers == 0;
    if (!first && (a.kv_heads != plan_.kv_heads || a.head_dim != plan_.head_dim))
      fail("{}: {} KV heads of {}, other layers have {} of {}; one KV cache holds equal layers",
           node.name, a.kv_heads, a.head_dim, plan_.kv_heads, plan_.head_dim);
    plan_.kv_heads = static_cast<int32_t>(a.kv_heads);
    plan_.head_dim = static_cast<int32_t>(a.head_dim);
    plan_.kv_layers = std::max(plan_.kv_layers, static_cast<int32_t>(a.layer) + 1);
    windows_.emplace_back(a.layer, a.window);
  }

  void mark_outputs() {
    for (const auto& [name, id] : graph_.outputs()) {
      if (name == "logits" && !network_)
        plan_.logits = use(id);
      else if (name == "hidden" && !network_)
        plan_.hidden = use(id);
      else
        plan_.debug_outputs.push_back(use(id));
    }
    if (plan_.logits < 0 && !network_) fail("the graph has no output 'logits'");
  }

  const Graph& graph_;
  const bool network_;
  Plan plan_;
  std::vector<int32_t> index_;
  std::vector<std::pair<int64_t, int64_t>> windows_;
};

}  // namespace

Plan lower(const Graph& graph, const LowerOptions& options) {
  return Lowering(graph, options).run();
}

}  // namespace tokamak
