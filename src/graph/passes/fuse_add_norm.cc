// sum = a + b; y = norm(sum): one op that makes both.
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

std::optional<Rewrite> fuse(Graph& graph, const GraphIndex& index, const Node& root) {
  if (!is_kind(root, Op::binary, "add")) return std::nullopt;
  const ValueId sum = root.outputs[0];
  for (ValueId in : root.inputs)
    if (index.type(in) != index.type(sum)) return std::nullopt;
  for (const Node* norm : index.consumers(sum)) {
    if (!is_norm_of(index, *norm, sum)) continue;
    std::vector<ValueId> inputs = root.inputs;
    inputs.insert(inputs.end(), norm->inputs.begin() + 1, norm->inputs.end());
    const Op op = norm->op == Op::rms_norm ? Op::add_rms_norm : Op::add_layer_norm;
    Rewrite r;
    r.nodes.push_back(graph.make_node(op, norm->attrs, std::move(inputs), norm->name));
    r.replaced.emplace_back(norm->outputs[0], r.nodes[0].outputs[0]);
    r.replaced.emplace_back(sum, r.nodes[0].outputs[1]);
    return r;
  }
  return std::nullopt;
}

}  // namespace

int fuse_add_norm(Graph& graph) { return rewrite_all(graph, fuse); }

}  // namespace tokamak
