#include "graph/passes/algebra.h"
#include "graph/passes/passes.h"

namespace tokamak {
namespace {

// tanh(x / cap) * cap
std::optional<Rewrite> recognize(Graph& graph, const GraphIndex& index, const Node& root) {
  if (root.op != Op::binary) return std::nullopt;
  const auto outer = scaled(index, root.outputs[0]);
  const Node* curve = outer ? index.made_by(outer->x, Op::unary, "tanh") : nullptr;
  const auto inner = curve ? scaled(index, curve->inputs[0]) : std::nullopt;
  if (!inner || !(outer->k > 0) || !close(outer->k * inner->k, 1)) return std::nullopt;
  if (!index.private_to(root, {inner->x})) return std::nullopt;
  return replace_by(graph, root, Op::softcap, Attrs().set("cap", outer->k), {inner->x});
}

}  // namespace

int recognize_softcap(Graph& graph) { return rewrite_all(graph, recognize); }

}  // namespace tokamak
