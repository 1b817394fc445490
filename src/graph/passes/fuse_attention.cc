// rope of q and k, and before it the RMS norm of each head, move into attention, which touches q
// and k anyway.
#include <array>

#include "graph/passes/passes.h"
#include "graph/passes/rewrite.h"
#include "ops/attention.h"

namespace tokamak {
namespace {

Rewrite replace_attention(Graph& graph, const Node& root, const AttentionAttrs& attrs,
                          std::vector<ValueId> inputs) {
  return replace_by(graph, root, Op::attention, attrs.to_attrs(), std::move(inputs));
}

// q and k are both turned by the same table at the same positions.
std::optional<Rewrite> fuse_rope(Graph& graph, const GraphIndex& index, const Node& root) {
  AttentionAttrs attrs = AttentionAttrs::from(root.attrs);
  if (attrs.has_rope || attrs.qk_norm) return std::nullopt;
  std::array<const Node*, 2> ropes;
  for (int i : {0, 1}) {
    ropes[i] = index.made_by(root.inputs[i], Op::rope);
    if (!ropes[i] || !index.used_once(root.inputs[i])) return std::nullopt;
    if (ropes[i]->inputs[1] != root.inputs[3]) return std::nullopt;
  }
  if (ropes[0]->attrs != ropes[1]->attrs) return std::nullopt;
  attrs.has_rope = true;
  attrs.rope = RopeAttrs::from(ropes[0]->attrs);
  if (attrs.rope.head_dim != attrs.head_dim) return std::nullopt;
  std::vector<ValueId> inputs = root.inputs;
  for (int i : {0, 1}) inputs[i] = ropes[i]->inputs[0];
  return replace_attention(graph, root, attrs, std::move(inputs));
}

struct HeadNorm {
  ValueId x, weight;
  double eps;
};

// reshape(rms_norm(reshape(x, [tokens, heads, head_dim]), weight), [tokens, n])
std::optional<HeadNorm> head_norm(const GraphIndex& index, ValueId v, int64_t head_dim) {
  const Node* flat = index.made_by(v, Op::reshape);
  if (!flat || !index.used_once(v)) return std::nullopt;
  const Node* norm = index.made_by(flat->inputs[0], Op::rms_norm);
  if (!norm || !index.used_once(flat->inputs[0])) return std::nullopt;
  const Node* split = index.made_by(norm->inputs[0], Op::reshape);
  if (!split || !index.used_once(norm->inputs[0])) return std::nullopt;
  const SymShape& heads = index.type(norm->inputs[0]).shape;
  const ValueId x = split->inputs[0];
  if (heads.size() != 3 || heads[2] != Dim(head_dim) || index.type(x) != index.type(v))
    return std::nullopt;
  return HeadNorm{x, norm->inputs[1], norm->attrs.get<double>("eps")};
}

std::optional<Rewrite> fuse_norm(Graph& graph, const GraphIndex& index, const Node& root) {
  AttentionAttrs attrs = AttentionAttrs::from(root.attrs);
  if (attrs.qk_norm) return std::nullopt;
  const auto q = head_norm(index, root.inputs[0], attrs.head_dim);
  const auto k = head_norm(index, root.inputs[1], attrs.head_dim);
  if (!q || !k || q->eps != k->eps) return std::nullopt;
  attrs.qk_norm = true;
  attrs.qk_norm_eps = q->eps;
  return replace_attention(graph, root, attrs,
                           {q->x, k->x, root.inputs[2], root.inputs[3], q->weight, k->weight});
}

std::optional<Rewrite> fuse(Graph& graph, const GraphIndex& index, const Node& root) {
  if (root.op != Op::attention) return std::nullopt;
  if (auto r = fuse_rope(graph, index, root)) return r;
  return fuse_norm(graph, index, root);
}

}  // namespace

int fuse_attention(Graph& graph) { return rewrite_all(graph, fuse); }

}  // namespace tokamak
