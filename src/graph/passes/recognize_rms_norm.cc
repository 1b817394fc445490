// x / sqrt(mean(x²) + eps) * weight, in any order of operands.
#include <cmath>

#include "graph/passes/algebra.h"
#include "graph/passes/passes.h"

namespace tokamak {
namespace {

struct MeanSquare {
  ValueId x;
  double eps = 0;
};

// x when v is x², as square(x), x * x or pow(x, 2).
std::optional<ValueId> squared(const GraphIndex& index, ValueId v) {
  if (const Node* n = index.made_by(v, Op::unary, "square")) return n->inputs[0];
  if (const Node* n = index.made_by(v, Op::binary, "mul"); n && n->inputs[0] == n->inputs[1])
    return n->inputs[0];
  if (const Node* n = index.made_by(v, Op::binary, "pow"))
    if (const auto two = index.scalar(n->inputs[1]); two && *two == 2) return n->inputs[0];
  return std::nullopt;
}

// x when v is the mean of x² over rows, as a mean or as a sum times 1/n.
std::optional<ValueId> mean_of_squares(const GraphIndex& index, ValueId v) {
  if (const Node* n = index.made_by(v, Op::reduce, "mean")) return squared(index, n->inputs[0]);
  const auto part = scaled(index, v);
  const Node* sum = part ? index.made_by(part->x, Op::reduce, "sum") : nullptr;
  if (!sum) return std::nullopt;
  const double n = static_cast<double>(index.type(sum->inputs[0]).shape.back().size);
  return std::fabs(part->k * n - 1) < 1e-9 ? squared(index, sum->inputs[0]) : std::nullopt;
}

std::optional<MeanSquare> variance(const GraphIndex& index, ValueId v) {
  if (const auto x = mean_of_squares(index, v)) return MeanSquare{*x, 0};
  const Node* sum = index.made_by(v, Op::binary, "add");
  if (!sum) return std::nullopt;
  for (int i : {0, 1}) {
    const auto eps = index.scalar(sum->inputs[i]);
    const auto x = mean_of_squares(index, sum->inputs[1 - i]);
    if (eps && *eps >= 0 && x) return MeanSquare{*x, *eps};
  }
  return std::nullopt;
}

// The variance under rsqrt(v), pow(v, -0.5) above the line; sqrt(v), pow(v, 0.5) below it.
std::optional<MeanSquare> root_of(const GraphIndex& index, ValueId factor, bool below) {
  if (const Node* n = index.made_by(factor, Op::unary, below ? "sqrt" : "rsqrt"))
    return variance(index, n->inputs[0]);
  const Node* n = index.made_by(factor, Op::binary, "pow");
  const auto exponent = n ? index.scalar(n->inputs[1]) : std::nullopt;
  if (!exponent || *exponent != (below ? 0.5 : -0.5)) return std::nullopt;
  return variance(index, n->inputs[0]);
}

// Takes the one inverse root out of the product.
std::optional<MeanSquare> take_root(const GraphIndex& index, Product& p) {
  for (bool below : {false, true}) {
    std::vector<ValueId>& list = below ? p.denominators : p.numerators;
    for (size_t i = 0; i < list.size(); ++i) {
      const auto found = root_of(index, list[i], below);
      if (!found) continue;
      list.erase(list.begin() + static_cast<std::ptrdiff_t>(i));
      return found;
    }
  }
  return std::nullopt;
}

std::optional<Rewrite> recognize(Graph& graph, const GraphIndex& index, const Node& root) {
  if (!is_kind(root, Op::binary, "mul") && !is_kind(root, Op::binary, "div")) return std::nullopt;
  Product p = product_of(index, root);
  const auto ms = take_root(index, p);
  if (!ms || p.constant != 1 || p.numerators.size() != 2 || !p.denominators.empty())
    return std::nullopt;
  const ValueType type = index.type(root.outputs[0]);
  const ValueId source = before_casts(index, ms->x);
  for (int i : {0, 1}) {
    const ValueId weight = p.numerators[1 - i];
    if (before_casts(index, p.numerators[i]) != source) continue;
    if (!index.is_vector(weight, type.shape.back().size)) continue;
    // The op works in float32 inside, so casts around it can go where the types outside agree.
    const ValueId x = index.type(source) == type ? source : ms->x;
    if (index.type(x) != type || !index.private_to(root, {x, weight})) continue;
    return replace_by(graph, root, Op::rms_norm, Attrs().set("eps", ms->eps), {x, weight});
  }
  return std::nullopt;
}

}  // namespace

int recognize_rms_norm(Graph& graph) { return rewrite_all(graph, recognize); }

}  // namespace tokamak
