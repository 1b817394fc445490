// What follows a linear moves into it: an activation, a residual, a cast to float32
// (biases: fuse_bias).
#include "graph/passes/passes.h"
#include "graph/passes/rewrite.h"
#include "ops/linear.h"

namespace tokamak {
namespace {

// The linear that makes v, when nothing else reads v.
const Node* own_linear(const GraphIndex& index, ValueId v) {
  return index.used_once(v) ? index.made_by(v, Op::linear) : nullptr;
}

// A sum that a norm reads belongs to the norm (fuse_add_norm).
bool feeds_norm(const GraphIndex& index, ValueId sum) {
  for (const Node* n : index.consumers(sum))
    if ((n->op == Op::rms_norm || n->op == Op::layer_norm) && n->inputs[0] == sum) return true;
  return false;
}

std::optional<Rewrite> residual(Graph& graph, const GraphIndex& index, const Node& root) {
  if (feeds_norm(index, root.outputs[0])) return std::nullopt;
  for (int i : {0, 1}) {
    const Node* linear = own_linear(index, root.inputs[i]);
    const ValueId other = root.inputs[1 - i];
    if (!linear || index.type(other) != index.type(root.outputs[0])) continue;
    LinearAttrs attrs = LinearAttrs::from(linear->attrs);
    if (attrs.has_residual) continue;
    attrs.has_residual = true;
    std::vector<ValueId> inputs = linear->inputs;
    inputs.push_back(other);
    return replace_by(graph, root, Op::linear, attrs.to_attrs(), std::move(inputs));
  }
  return std::nullopt;
}

std::optional<Rewrite> activation(Graph& graph, const GraphIndex& index, const Node& root) {
  const Node* linear = own_linear(index, root.inputs[0]);
  if (!linear) return std::nullopt;
  LinearAttrs attrs = LinearAttrs::from(linear->attrs);
  if (attrs.has_residual || attrs.activation != Activation::none) return std::nullopt;
  const std::string kind = root.attrs.get<std::string>("kind");
  for (const Activation a : {Activation::silu, Activation::gelu, Activation::gelu_tanh,
                             Activation::relu, Activation::sigmoid, Activation::tanh}) {
    if (kind != name(a)) continue;
    attrs.activation = a;
    return replace_by(graph, root, Op::linear, attrs.to_attrs(), linear->inputs);
  }
  return std::nullopt;
}

// The sums are float32 before they are rounded.
std::optional<Rewrite> cast(Graph& graph, const GraphIndex& index, const Node& root) {
  const Node* linear = own_linear(index, root.inputs[0]);
  const DType from = index.type(root.inputs[0]).dtype;
  if (!linear || index.type(root.outputs[0]).dtype != DType::f32) return std::nullopt;
  LinearAttrs attrs = LinearAttrs::from(linear->attrs);
  if (attrs.has_residual || (from != DType::f16 && from != DType::bf16)) return std::nullopt;
  attrs.float32 = true;
  return replace_by(graph, root, Op::linear, attrs.to_attrs(), linear->inputs);
}

std::optional<Rewrite> fuse(Graph& graph, const GraphIndex& index, const Node& root) {
  if (root.op == Op::cast) return cast(graph, index, root);
  if (root.op == Op::unary) return activation(graph, index, root);
  if (!is_kind(root, Op::binary, "add")) return std::nullopt;
  return residual(graph, index, root);
}

}  // namespace

int fuse_linear_epilogue(Graph& graph) { return rewrite_all(graph, fuse); }

}  // namespace tokamak
