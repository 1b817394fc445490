// activation(a) * b: as linear_glu when a and b are linears of one input, else as glu.
#include "graph/passes/passes.h"
#include "graph/passes/rewrite.h"
#include "ops/linear.h"

namespace tokamak {
namespace {

std::optional<Activation> activation_of(const Node& n) {
  if (n.op != Op::unary) return std::nullopt;
  const std::string kind = n.attrs.get<std::string>("kind");
  for (const Activation a : {Activation::silu, Activation::gelu, Activation::gelu_tanh,
                             Activation::relu, Activation::sigmoid, Activation::tanh})
    if (kind == name(a)) return a;
  return std::nullopt;
}

// The linear behind one operand, with the activation that stands between or inside.
struct Side {
  const Node* linear = nullptr;  // null when it is something else
  ValueId value = -1;            // before the activation
  Activation activation = Activation::none;
};

Side side(const GraphIndex& index, ValueId v) {
  Side s{nullptr, v, Activation::none};
  const Node* n = index.producer(v);
  if (!n || !index.used_once(v)) return s;
  if (const auto a = activation_of(*n)) {
    s.activation = *a;
    s.value = n->inputs[0];
    n = index.producer(s.value);
    if (!n || !index.used_once(s.value)) return s;
  }
  if (n->op != Op::linear) return s;
  const LinearAttrs attrs = LinearAttrs::from(n->attrs);
  if (attrs.has_residual) return s;
  if (attrs.activation != Activation::none) {
    if (s.activation != Activation::none) return s;  // two activations: the outer one stands apart
    s.activation = attrs.activation;
  }
  s.linear = n;
  return s;
}

bool pair(const GraphIndex& index, const Side& a, const Side& b) {
  if (!a.linear || !b.linear || a.linear == b.linear) return false;
  if (a.linear->inputs[0] != b.linear->inputs[0]) return false;
  if (a.linear->inputs.size() != b.linear->inputs.size()) return false;  // both biased or neither
  const ValueType &wa = index.type(a.linear->inputs[1]), &wb = index.type(b.linear->inputs[1]);
  return wa == wb;
}

Rewrite joined(Graph& graph, const Node& root, const Side& a, const Side& b) {
  LinearAttrs attrs{.activation = a.activation};
  std::vector<ValueId> inputs = {a.linear->inputs[0], a.linear->inputs[1], b.linear->inputs[1]};
  if (a.linear->inputs.size() == 3) {
    attrs.has_bias = true;
    inputs.push_back(a.linear->inputs[2]);
    inputs.push_back(b.linear->inputs[2]);
  }
  return replace_by(graph, root, Op::linear_glu, attrs.to_attrs(), std::move(inputs));
}

std::optional<Rewrite> fuse(Graph& graph, const GraphIndex& index, const Node& root) {
  if (!is_kind(root, Op::binary, "mul")) return std::nullopt;
  const Side sides[] = {side(index, root.inputs[0]), side(index, root.inputs[1])};
  for (int i : {0, 1}) {
    const Side &a = sides[i], &b = sides[1 - i];
    if (a.activation == Activation::none) continue;
    if (b.activation == Activation::none && pair(index, a, b)) return joined(graph, root, a, b);
    // The activation as a node of its own: the other side may be anything of the same type.
    const Node* n = index.producer(root.inputs[i]);
    const ValueId other = root.inputs[1 - i];
    if (n->op != Op::unary || index.type(a.value) != index.type(other) ||
        index.type(other).shape.size() < 2)
      continue;
    return replace_by(graph, root, Op::glu,
                      Attrs().set("activation", std::string(name(a.activation))),
                      {n->inputs[0], other});
  }
  return std::nullopt;
}

}  // namespace

int fuse_glu(Graph& graph) { return rewrite_all(graph, fuse); }

}  // namespace tokamak
