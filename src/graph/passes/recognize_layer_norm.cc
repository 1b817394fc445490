// A layer norm is an RMS norm of x - mean(x), perhaps with a bias after it.
#include "graph/passes/passes.h"
#include "graph/passes/rewrite.h"

namespace tokamak {
namespace {

std::optional<Rewrite> centered(Graph& graph, const GraphIndex& index, const Node& root) {
  if (root.op != Op::rms_norm) return std::nullopt;
  const Node* difference = index.made_by(root.inputs[0], Op::binary, "sub");
  if (!difference) return std::nullopt;
  const ValueId x = difference->inputs[0];
  const Node* mean = index.made_by(difference->inputs[1], Op::reduce, "mean");
  if (!mean || mean->inputs[0] != x || index.type(x) != index.type(root.outputs[0]))
    return std::nullopt;
  if (!index.private_to(root, {x, root.inputs[1]})) return std::nullopt;
  return replace_by(graph, root, Op::layer_norm, root.attrs, {x, root.inputs[1]});
}

std::optional<Rewrite> with_bias(Graph& graph, const GraphIndex& index, const Node& root) {
  if (!is_kind(root, Op::binary, "add")) return std::nullopt;
  for (int i : {0, 1}) {
    const Node* norm = index.made_by(root.inputs[i], Op::layer_norm);
    if (!norm || norm->inputs.size() != 2 || !index.used_once(root.inputs[i])) continue;
    const ValueId bias = root.inputs[1 - i];
    if (!index.is_vector(bias, index.type(root.inputs[i]).shape.back().size)) continue;
    return replace_by(graph, root, Op::layer_norm, norm->attrs,
                      {norm->inputs[0], norm->inputs[1], bias});
  }
  return std::nullopt;
}

std::optional<Rewrite> recognize(Graph& graph, const GraphIndex& index, const Node& root) {
  if (auto r = centered(graph, index, root)) return r;
  return with_bias(graph, index, root);
}

}  // namespace

int recognize_layer_norm(Graph& graph) { return rewrite_all(graph, recognize); }

}  // namespace tokamak
