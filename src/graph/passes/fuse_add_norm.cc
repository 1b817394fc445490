// sum = a + b; y = norm(sum): one op that makes both. Where sums are float32 and what is added and
// the norm are narrower, the casts go with it.
#include <algorithm>

#include "graph/passes/passes.h"
#include "graph/passes/rewrite.h"

namespace tokamak {
namespace {

bool is_norm_of(const GraphIndex& index, const Node& n, ValueId sum) {
  if ((n.op != Op::rms_norm && n.op != Op::layer_norm) || n.inputs[0] != sum) return false;
  // The new node stands where the sum stood, so the norm's weights must exist by then.
  for (size_t i = 1; i < n.inputs.size(); ++i)
    if (index.graph().value(n.inputs[i]).kind != ValueKind::weight) return false;
  return true;
}

Rewrite add_norm(Graph& graph, const Node& norm, ValueId x, ValueId residual) {
  std::vector<ValueId> inputs = {x, residual};
  inputs.insert(inputs.end(), norm.inputs.begin() + 1, norm.inputs.end());
  const Op op = norm.op == Op::rms_norm ? Op::add_rms_norm : Op::add_layer_norm;
  Rewrite r;
  r.nodes.push_back(graph.make_node(op, norm.attrs, std::move(inputs), norm.name));
  return r;
}

// The narrower value that is added to the float32 sum as operand i; -1: none.
ValueId narrow_operand(const GraphIndex& index, const Node& sum, size_t i) {
  const Node* cast = index.made_by(sum.inputs[i], Op::cast);
  if (!cast || index.type(sum.outputs[0]).dtype != DType::f32) return -1;
  const DType t = index.type(cast->inputs[0]).dtype;
  return t == DType::f16 || t == DType::bf16 ? cast->inputs[0] : -1;
}

// All that reads the norm makes it as narrow as x.
bool narrowed(const GraphIndex& index, const Node& norm, ValueId x) {
  const auto& readers = index.consumers(norm.outputs[0]);
  const auto narrows = [&](const Node* n) {
    return n->op == Op::cast && index.type(n->outputs[0]).dtype == index.type(x).dtype;
  };
  return !readers.empty() && !index.is_output(norm.outputs[0]) &&
         std::all_of(readers.begin(), readers.end(), narrows);
}

std::optional<Rewrite> fuse(Graph& graph, const GraphIndex& index, const Node& root) {
  if (!is_kind(root, Op::binary, "add")) return std::nullopt;
  const ValueId sum = root.outputs[0];
  for (ValueId in : root.inputs)
    if (index.type(in) != index.type(sum)) return std::nullopt;
  for (const Node* norm : index.consumers(sum)) {
    if (!is_norm_of(index, *norm, sum)) continue;
    for (const size_t i : {1, 0}) {
      const ValueId x = narrow_operand(index, root, i);
      if (x < 0 || !narrowed(index, *norm, x)) continue;
      Rewrite r = add_norm(graph, *norm, x, root.inputs[1 - i]);
      for (const Node* cast : index.consumers(norm->outputs[0]))
        r.replaced.emplace_back(cast->outputs[0], r.nodes[0].outputs[0]);
      r.replaced.emplace_back(sum, r.nodes[0].outputs[1]);
      return r;
    }
    Rewrite r = add_norm(graph, *norm, root.inputs[0], root.inputs[1]);
    r.replaced.emplace_back(norm->outputs[0], r.nodes[0].outputs[0]);
    r.replaced.emplace_back(sum, r.nodes[0].outputs[1]);
    return r;
  }
  return std::nullopt;
}

}  // namespace

int fuse_add_norm(Graph& graph) { return rewrite_all(graph, fuse); }

}  // namespace tokamak
