// Activations written out of exp, tanh, erf and arithmetic.
#include <cmath>
#include <numbers>

#include "graph/passes/algebra.h"
#include "graph/passes/passes.h"

namespace tokamak {
namespace {

Rewrite unary(Graph& graph, const Node& root, const char* kind, ValueId x) {
  return replace_by(graph, root, Op::unary, Attrs().set("kind", kind), {x});
}

bool fits(const GraphIndex& index, const Node& root, ValueId x) {
  return index.type(root.outputs[0]) == index.type(x) && index.private_to(root, {x});
}

// x when v is 1 + exp(-x).
std::optional<ValueId> logistic_denominator(const GraphIndex& index, ValueId v) {
  const Node* sum = index.made_by(v, Op::binary, "add");
  if (!sum) return std::nullopt;
  for (int i : {0, 1}) {
    const auto one = index.scalar(sum->inputs[i]);
    const Node* e = index.made_by(sum->inputs[1 - i], Op::unary, "exp");
    const auto negated = e ? scaled(index, e->inputs[0]) : std::nullopt;
    if (one && *one == 1 && negated && negated->k == -1) return negated->x;
  }
  return std::nullopt;
}

// 1 / (1 + exp(-x)) and x / (1 + exp(-x)).
std::optional<Rewrite> logistic(Graph& graph, const GraphIndex& index, const Node& root) {
  if (!is_kind(root, Op::binary, "div")) return std::nullopt;
  const auto x = logistic_denominator(index, root.inputs[1]);
  if (!x || !fits(index, root, *x)) return std::nullopt;
  if (root.inputs[0] == *x) return unary(graph, root, "silu", *x);
  const auto one = index.scalar(root.inputs[0]);
  if (one && *one == 1) return unary(graph, root, "sigmoid", *x);
  return std::nullopt;
}

std::optional<Rewrite> silu(Graph& graph, const GraphIndex& index, const Node& root) {
  if (!is_kind(root, Op::binary, "mul")) return std::nullopt;
  for (int i : {0, 1}) {
    const ValueId x = root.inputs[i];
    const Node* s = index.made_by(root.inputs[1 - i], Op::unary, "sigmoid");
    if (s && s->inputs[0] == x && fits(index, root, x)) return unary(graph, root, "silu", x);
  }
  return std::nullopt;
}

std::optional<Rewrite> relu(Graph& graph, const GraphIndex& index, const Node& root) {
  if (!is_kind(root, Op::binary, "max")) return std::nullopt;
  for (int i : {0, 1}) {
    const auto zero = index.scalar(root.inputs[1 - i]);
    if (zero && *zero == 0 && fits(index, root, root.inputs[i]))
      return unary(graph, root, "relu", root.inputs[i]);
  }
  return std::nullopt;
}

// The erf or tanh under additions and multiplications with constants.
const Node* curve_in(const GraphIndex& index, ValueId v) {
  for (int depth = 0; depth < 4; ++depth) {
    const Node* n = index.producer(v);
    if (!n) return nullptr;
    if (is_kind(*n, Op::unary, "erf") || is_kind(*n, Op::unary, "tanh")) return n;
    if (n->op != Op::binary) return nullptr;
    if (index.scalar(n->inputs[0]))
      v = n->inputs[1];
    else if (index.scalar(n->inputs[1]))
      v = n->inputs[0];
    else
      return nullptr;
  }
  return nullptr;
}

bool is_polynomial(const std::optional<Polynomial>& p, const Polynomial& expected) {
  if (!p) return false;
  for (const auto& [degree, c] : *p)
    if (c != 0 && !expected.count(degree)) return false;
  for (const auto& [degree, c] : expected)
    if (!p->count(degree) || !close(p->at(degree), c)) return false;
  return true;
}

// factor * (half + half * curve(u(x))) * x with the u of one of the two GELUs; null otherwise.
const char* gelu_kind(const GraphIndex& index, double factor, ValueId cdf, ValueId x) {
  const Node* curve = curve_in(index, cdf);
  if (!curve) return nullptr;
  const double half = 0.5 / factor;
  if (!is_polynomial(polynomial_of(index, cdf, curve->outputs[0]), {{0, half}, {1, half}}))
    return nullptr;
  const auto u = polynomial_of(index, curve->inputs[0], x);
  if (is_kind(*curve, Op::unary, "erf"))
    return is_polynomial(u, {{1, 1 / std::numbers::sqrt2}}) ? "gelu" : nullptr;
  const double c = std::sqrt(2 / std::numbers::pi);
  return is_polynomial(u, {{1, c}, {3, c * 0.044715}}) ? "gelu_tanh" : nullptr;
}

std::optional<Rewrite> gelu(Graph& graph, const GraphIndex& index, const Node& root) {
  if (!is_kind(root, Op::binary, "mul") && !is_kind(root, Op::binary, "div")) return std::nullopt;
  const Product p = product_of(index, root);
  if (p.numerators.size() != 2 || !p.denominators.empty() || p.constant == 0) return std::nullopt;
  for (int i : {0, 1}) {
    const ValueId x = p.numerators[i];
    const char* kind = gelu_kind(index, p.constant, p.numerators[1 - i], x);
    if (kind && fits(index, root, x)) return unary(graph, root, kind, x);
  }
  return std::nullopt;
}

std::optional<Rewrite> recognize(Graph& graph, const GraphIndex& index, const Node& root) {
  for (const Rule rule : {&logistic, &silu, &relu, &gelu})
    if (auto r = rule(graph, index, root)) return r;
  return std::nullopt;
}

}  // namespace

int recognize_activations(Graph& graph) { return rewrite_all(graph, recognize); }

}  // namespace tokamak
