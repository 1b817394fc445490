#include "graph/passes/passes.h"
#include "graph/passes/rewrite.h"

namespace tokamak {
namespace {

std::optional<Rewrite> fold_slice(Graph& graph, const GraphIndex& index, const Node& root) {
  const ValueId x = root.inputs[0];
  const int64_t begin = root.attrs.get<int64_t>("begin"), end = root.attrs.get<int64_t>("end");
  if (begin == 0 && end == index.type(x).shape.back().size && !index.type(x).is_weight)
    return replace_by_value(root, x);
  const Node* inner = index.made_by(x, Op::slice);
  if (!inner) return std::nullopt;
  const int64_t offset = inner->attrs.get<int64_t>("begin");
  return replace_by(graph, root, Op::slice,
                    Attrs().set("begin", offset + begin).set("end", offset + end),
                    {inner->inputs[0]});
}

// The shape attribute that makes `to` out of any value of as many elements.
std::vector<int64_t> shape_attr(const SymShape& to) {
  std::vector<int64_t> shape;
  for (const Dim& d : to) shape.push_back(d.fixed() ? d.size : 0);
  return shape;
}

std::optional<Rewrite> fold_reshape(Graph& graph, const GraphIndex& index, const Node& root) {
  const ValueId x = root.inputs[0];
  const SymShape& to = index.type(root.outputs[0]).shape;
  if (index.type(x).shape == to && !index.type(x).is_weight) return replace_by_value(root, x);
  const Node* inner = index.made_by(x, Op::reshape);
  if (!inner) return std::nullopt;
  return replace_by(graph, root, Op::reshape, Attrs().set("shape", shape_attr(to)),
                    {inner->inputs[0]});
}

// concat of neighbouring slices of one value, in order, is a slice of it.
std::optional<Rewrite> fold_concat(Graph& graph, const GraphIndex& index, const Node& root) {
  if (root.inputs.size() == 1 && !index.type(root.inputs[0]).is_weight)
    return replace_by_value(root, root.inputs[0]);
  const Node* first = index.made_by(root.inputs[0], Op::slice);
  if (!first) return std::nullopt;
  int64_t end = first->attrs.get<int64_t>("begin");
  for (ValueId part : root.inputs) {
    const Node* s = index.made_by(part, Op::slice);
    if (!s || s->inputs != first->inputs || s->attrs.get<int64_t>("begin") != end)
      return std::nullopt;
    end = s->attrs.get<int64_t>("end");
  }
  return replace_by(graph, root, Op::slice,
                    Attrs().set("begin", first->attrs.get<int64_t>("begin")).set("end", end),
                    first->inputs);
}

std::optional<Rewrite> fold(Graph& graph, const GraphIndex& index, const Node& root) {
  if (root.op == Op::slice) return fold_slice(graph, index, root);
  if (root.op == Op::reshape) return fold_reshape(graph, index, root);
  if (root.op == Op::concat) return fold_concat(graph, index, root);
  return std::nullopt;
}

}  // namespace

int fold_views(Graph& graph) { return rewrite_all(graph, fold); }

}  // namespace tokamak
