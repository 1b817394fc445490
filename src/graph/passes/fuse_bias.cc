// linear + vector: the linear's bias. Before the fusions that compare linears with each other.
#include "graph/passes/passes.h"
#include "graph/passes/rewrite.h"
#include "ops/linear.h"

namespace tokamak {
namespace {

std::optional<Rewrite> fuse(Graph& graph, const GraphIndex& index, const Node& root) {
  if (!is_kind(root, Op::binary, "add")) return std::nullopt;
  for (int i : {0, 1}) {
    if (!index.used_once(root.inputs[i])) continue;
    const Node* linear = index.made_by(root.inputs[i], Op::linear);
    if (!linear) continue;
    LinearAttrs attrs = LinearAttrs::from(linear->attrs);
    if (attrs.has_bias || attrs.activation != Activation::none) continue;
    const ValueId vector = root.inputs[1 - i];
    if (!index.is_vector(vector, index.type(root.inputs[i]).shape.back().size)) continue;
    attrs.has_bias = true;
    std::vector<ValueId> inputs = linear->inputs;
    inputs.insert(inputs.begin() + 2, vector);
    return replace_by(graph, root, Op::linear, attrs.to_attrs(), std::move(inputs));
  }
  return std::nullopt;
}

}  // namespace

int fuse_bias(Graph& graph) { return rewrite_all(graph, fuse); }

}  // namespace tokamak
