#include "graph/passes/passes.h"
#include "graph/passes/rewrite.h"

namespace tokamak {
namespace {

// Every value of `from` is one of `to`.
bool lossless(DType from, DType to) {
  if (from == to) return true;
  const bool half = from == DType::f16 || from == DType::bf16;
  return (half && (to == DType::f32 || to == DType::f64)) ||
         (from == DType::f32 && to == DType::f64);
}

std::optional<Rewrite> fold(Graph& graph, const GraphIndex& index, const Node& root) {
  if (root.op != Op::cast) return std::nullopt;
  const ValueId x = root.inputs[0];
  const DType to = index.type(root.outputs[0]).dtype;
  if (index.type(x).dtype == to && !index.type(x).is_weight) return replace_by_value(root, x);
  const Node* inner = index.made_by(x, Op::cast);
  if (!inner) return std::nullopt;
  const ValueId source = inner->inputs[0];
  // The inner cast is dropped only when it loses nothing.
  if (!lossless(index.type(source).dtype, index.type(x).dtype)) return std::nullopt;
  return replace_by(graph, root, Op::cast, root.attrs, {source});
}

}  // namespace

int fold_casts(Graph& graph) { return rewrite_all(graph, fold); }

}  // namespace tokamak
