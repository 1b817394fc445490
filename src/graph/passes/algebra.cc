#include "graph/passes/algebra.h"

#include <cmath>

namespace tokamak {
namespace {

constexpr int kMaxDepth = 8, kMaxDegree = 4;

bool float_cast(const GraphIndex& index, const Node& n) {
  return n.op == Op::cast && is_float(index.type(n.inputs[0]).dtype) &&
         is_float(index.type(n.outputs[0]).dtype);
}

void add_factors(const GraphIndex& index, ValueId v, bool below, Product& p, bool is_root);

void add_operands(const GraphIndex& index, const Node& n, bool below, Product& p) {
  add_factors(index, n.inputs[0], below, p, false);
  if (n.op != Op::binary) return;
  const bool divides = is_kind(n, Op::binary, "div");
  add_factors(index, n.inputs[1], below != divides, p, false);
}

void add_factors(const GraphIndex& index, ValueId v, bool below, Product& p, bool is_root) {
  if (const auto c = index.scalar(v)) {
    p.constant = below ? p.constant / *c : p.constant * *c;
    return;
  }
  const Node* n = index.producer(v);
  const bool opens = n && (is_root || (index.used_once(v) && index.type(v).shape.size() > 1));
  if (opens &&
      (is_kind(*n, Op::binary, "mul") || is_kind(*n, Op::binary, "div") || float_cast(index, *n))) {
    add_operands(index, *n, below, p);
  } else if (opens && is_kind(*n, Op::unary, "neg")) {
    p.constant = -p.constant;
    add_operands(index, *n, below, p);
  } else {
    (below ? p.denominators : p.numerators).push_back(v);
  }
}

Polynomial times(const Polynomial& a, const Polynomial& b) {
  Polynomial r;
  for (const auto& [i, x] : a)
    for (const auto& [j, y] : b) r[i + j] += x * y;
  return r;
}

Polynomial plus(Polynomial a, const Polynomial& b, double sign) {
  for (const auto& [i, y] : b) a[i] += sign * y;
  return a;
}

std::optional<Polynomial> power(const Polynomial& a, double exponent) {
  const int n = static_cast<int>(exponent);
  if (n != exponent || n < 0 || n > kMaxDegree) return std::nullopt;
  Polynomial r = {{0, 1.0}};
  for (int i = 0; i < n; ++i) r = times(r, a);
  return r;
}

std::optional<double> constant_of(const Polynomial& p) {
  if (p.size() != 1 || p.begin()->first != 0) return std::nullopt;
  return p.begin()->second;
}

std::optional<Polynomial> polynomial(const GraphIndex& index, ValueId v, ValueId x, int depth);

std::optional<Polynomial> combine(const GraphIndex& index, const Node& n, ValueId x, int depth) {
  const auto a = polynomial(index, n.inputs[0], x, depth);
  const auto b = a ? polynomial(index, n.inputs[1], x, depth) : std::nullopt;
  if (!b) return std::nullopt;
  const std::string kind = n.attrs.get<std::string>("kind");
  if (kind == "add" || kind == "sub") return plus(*a, *b, kind == "add" ? 1 : -1);
  if (kind == "mul") return times(*a, *b);
  const auto c = constant_of(*b);
  if (kind == "div" && c) return times(*a, {{0, 1 / *c}});
  if (kind == "pow" && c) return power(*a, *c);
  return std::nullopt;
}

std::optional<Polynomial> polynomial(const GraphIndex& index, ValueId v, ValueId x, int depth) {
  if (v == x) return Polynomial{{1, 1.0}};
  if (const auto c = index.scalar(v)) return Polynomial{{0, *c}};
  const Node* n = index.producer(v);
  if (!n || depth == 0) return std::nullopt;
  std::optional<Polynomial> p;
  if (n->op == Op::binary) {
    p = combine(index, *n, x, depth - 1);
  } else if (is_kind(*n, Op::unary, "neg") || is_kind(*n, Op::unary, "square")) {
    const auto a = polynomial(index, n->inputs[0], x, depth - 1);
    if (a) p = is_kind(*n, Op::unary, "neg") ? times(*a, {{0, -1.0}}) : times(*a, *a);
  }
  if (p && !p->empty() && p->rbegin()->first > kMaxDegree) return std::nullopt;
  return p;
}

}  // namespace

bool close(double a, double b) {
  return std::fabs(a - b) <= kConstantTolerance * std::max(std::fabs(a), std::fabs(b));
}

Product product_of(const GraphIndex& index, const Node& root) {
  Product p;
  add_factors(index, root.outputs[0], false, p, true);
  return p;
}

std::optional<Polynomial> polynomial_of(const GraphIndex& index, ValueId v, ValueId x) {
  return polynomial(index, v, x, kMaxDepth);
}

std::optional<Scaled> scaled(const GraphIndex& index, ValueId v) {
  const Node* n = index.producer(v);
  if (!n) return std::nullopt;
  if (is_kind(*n, Op::unary, "neg")) return Scaled{n->inputs[0], -1};
  if (n->op != Op::binary) return std::nullopt;
  const auto a = index.scalar(n->inputs[0]), b = index.scalar(n->inputs[1]);
  if (is_kind(*n, Op::binary, "mul") && b) return Scaled{n->inputs[0], *b};
  if (is_kind(*n, Op::binary, "mul") && a) return Scaled{n->inputs[1], *a};
  if (is_kind(*n, Op::binary, "div") && b) return Scaled{n->inputs[0], 1 / *b};
  if (is_kind(*n, Op::binary, "sub") && a && *a == 0) return Scaled{n->inputs[1], -1};
  return std::nullopt;
}

ValueId before_casts(const GraphIndex& index, ValueId v) {
  for (const Node* n = index.producer(v); n && float_cast(index, *n); n = index.producer(v))
    v = n->inputs[0];
  return v;
}

}  // namespace tokamak
