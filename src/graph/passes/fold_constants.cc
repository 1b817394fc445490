#include <cmath>

#include "graph/passes/passes.h"
#include "graph/passes/rewrite.h"
#include "ops/scalar_math.h"

namespace tokamak {
namespace {

Rewrite constant(Graph& graph, const Node& root, double value) {
  return replace_by(graph, root, Op::constant, Attrs().set("value", value), {});
}

// x op c that is x: x + 0, x - 0, x * 1, x / 1, pow(x, 1).
bool neutral_right(const std::string& kind, double c) {
  if (kind == "add" || kind == "sub") return c == 0;
  return (kind == "mul" || kind == "div" || kind == "pow") && c == 1;
}

bool neutral_left(const std::string& kind, double c) {
  return (kind == "add" && c == 0) || (kind == "mul" && c == 1);
}

std::optional<Rewrite> fold_binary(Graph& graph, const GraphIndex& index, const Node& root) {
  const std::string kind = root.attrs.get<std::string>("kind");
  const ValueId a = root.inputs[0], b = root.inputs[1];
  const std::optional<double> ca = index.scalar(a), cb = index.scalar(b);
  if (ca && cb) return constant(graph, root, apply_binary(kind, *ca, *cb));
  const ValueType& out = index.type(root.outputs[0]);
  const auto stands_for_root = [&](ValueId v) {
    return index.type(v).dtype == out.dtype && index.type(v).shape == out.shape &&
           !index.type(v).is_weight;
  };
  if (cb && neutral_right(kind, *cb) && stands_for_root(a)) return replace_by_value(root, a);
  if (ca && neutral_left(kind, *ca) && stands_for_root(b)) return replace_by_value(root, b);
  return std::nullopt;
}

std::optional<Rewrite> fold(Graph& graph, const GraphIndex& index, const Node& root) {
  if (root.op == Op::binary) return fold_binary(graph, index, root);
  if (root.op != Op::unary) return std::nullopt;
  const std::optional<double> c = index.scalar(root.inputs[0]);
  if (!c) return std::nullopt;
  return constant(graph, root, apply_unary(root.attrs.get<std::string>("kind"), *c));
}

}  // namespace

int fold_constants(Graph& graph) { return rewrite_all(graph, fold); }

}  // namespace tokamak
