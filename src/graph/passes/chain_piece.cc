#include "graph/passes/chain_piece.h"

#include <algorithm>
#include <map>

#include "ops/activation.h"

namespace tokamak {
namespace {

// Appends steps for one node; operands are values of the graph or numbers.
class PieceBuilder {
 public:
  explicit PieceBuilder(const GraphIndex& index) : index_(index) {}

  ChainOperand value(ValueId id) {
    if (const auto c = index_.scalar(id)) return {ChainOperand::number, 0, *c};
    auto& in = piece_.inputs;
    const auto it = std::find(in.begin(), in.end(), id);
    const auto at = static_cast<int>(it - in.begin());
    if (it == in.end()) in.push_back(id);
    return {ChainOperand::input, at};
  }
  ChainOperand number(double v) const { return {ChainOperand::number, 0, v}; }
  ChainOperand step(ChainOp op, ChainOperand a, ChainOperand b = {}) {
    piece_.chain.steps.push_back({op, a, takes_two(op) ? b : ChainOperand{}});
    return {ChainOperand::step, static_cast<int>(piece_.chain.steps.size()) - 1};
  }
  ChainPiece finish(const Node& node, ChainOperand result) {
    piece_.chain.outputs = {{index_.type(node.outputs[0]).dtype, result.index}};
    piece_.outputs = node.outputs;
    return std::move(piece_);
  }

 private:
  const GraphIndex& index_;
  ChainPiece piece_;
};

// Every kind of unary and binary, and every activation, is a step.
ChainOp op_named(std::string_view kind) {
  for (int i = 0; i < kChainOps; ++i)
    if (kind == name(static_cast<ChainOp>(i))) return static_cast<ChainOp>(i);
  TOKAMAK_ASSERT_MSG(false, "'{}' is no step of a chain", kind);
}

// x^n for the exponents that people write, by products; others as pow.
ChainOperand power(PieceBuilder& b, ChainOperand x, ChainOperand exponent) {
  if (exponent.kind != ChainOperand::number) return b.step(ChainOp::pow, x, exponent);
  if (exponent.value == 2) return b.step(ChainOp::square, x);
  if (exponent.value == 3) return b.step(ChainOp::mul, b.step(ChainOp::square, x), x);
  if (exponent.value == 4) return b.step(ChainOp::square, b.step(ChainOp::square, x));
  if (exponent.value == -1) return b.step(ChainOp::div, b.number(1), x);
  return b.step(ChainOp::pow, x, exponent);
}

ChainOperand elementwise(PieceBuilder& b, const GraphIndex& index, const Node& n) {
  const ChainOperand x = b.value(n.inputs[0]);
  switch (n.op) {
    case Op::unary:
      return b.step(op_named(n.attrs.get<std::string>("kind")), x);
    case Op::binary: {
      const ChainOp op = op_named(n.attrs.get<std::string>("kind"));
      const ChainOperand y = b.value(n.inputs[1]);
      return op == ChainOp::pow ? power(b, x, y) : b.step(op, x, y);
    }
    case Op::softcap: {
      const ChainOperand cap = b.number(n.attrs.get<double>("cap"));
      return b.step(ChainOp::mul, b.step(ChainOp::tanh, b.step(ChainOp::div, x, cap)), cap);
    }
    case Op::glu: {
      const Activation a = parse_activation(n.attrs.get<std::string>("activation"));
      const ChainOperand gate = a == Activation::none ? x : b.step(op_named(name(a)), x);
      return b.step(ChainOp::mul, gate, b.value(n.inputs[1]));
    }
    default:  // cast
      break;
  }
  const DType to = index.type(n.outputs[0]).dtype;
  if (to == DType::f16) return b.step(ChainOp::round_f16, x);
  if (to == DType::bf16) return b.step(ChainOp::round_bf16, x);
  return b.step(ChainOp::mul, x, b.number(1));  // exact: the operand is widened anyway
}

}  // namespace

std::optional<ChainPiece> chain_piece(const GraphIndex& index, const Node& n) {
  const bool known = n.op == Op::unary || n.op == Op::binary || n.op == Op::cast ||
                     n.op == Op::softcap || n.op == Op::glu || n.op == Op::chain;
  if (!known) return std::nullopt;
  constexpr size_t kMaxRank = 6;
  const SymShape& shape = index.type(n.outputs[0]).shape;
  if (shape.empty() || shape.size() > kMaxRank || !shape.back().fixed()) return std::nullopt;
  for (const ValueId id : n.inputs)
    if (!is_chain_dtype(index.type(id).dtype)) return std::nullopt;
  if (!is_chain_dtype(index.type(n.outputs[0]).dtype)) return std::nullopt;
  if (n.op == Op::chain)
    return ChainPiece{Chain::parse(n.attrs.get<std::string>("code")), n.inputs, n.outputs};
  PieceBuilder b(index);
  return b.finish(n, elementwise(b, index, n));
}

namespace {

// Copies what the outputs need out of two pieces, in canonical order.
class Joiner {
 public:
  Joiner(const ChainPiece& first, const ChainPiece& second) : pieces_{&first, &second} {}

  std::optional<ChainPiece> run(const std::vector<ValueId>& outputs) {
    for (const ValueId id : outputs) {
      const auto [piece, at] = made(id);
      const ChainOutput& o = pieces_[piece]->chain.outputs[at];
      const ChainOperand s = copy_step(piece, before_rounding(piece, o));
      out_.chain.outputs.push_back({o.dtype, s.index});
      out_.outputs.push_back(id);
    }
    const bool fits = out_.inputs.size() <= kChainMaxInputs &&
                      out_.chain.steps.size() <= kChainMaxSteps &&
                      outputs.size() <= kChainMaxOutputs;
    // Numbers alone make no chain; fold_constants has them.
    return fits && !out_.inputs.empty() ? std::optional(std::move(out_)) : std::nullopt;
  }

 private:
  // Which piece makes a value, as which of its outputs.
  std::pair<size_t, size_t> made(ValueId id) const {
    for (size_t p = 0; p < 2; ++p)
      for (size_t i = 0; i < pieces_[p]->outputs.size(); ++i)
        if (pieces_[p]->outputs[i] == id) return {p, i};
    TOKAMAK_ASSERT(false);
  }

  // The output's dtype rounds by itself.
  int before_rounding(size_t piece, const ChainOutput& o) const {
    const ChainStep& s = pieces_[piece]->chain.steps[static_cast<size_t>(o.step)];
    const bool rounds = (s.op == ChainOp::round_f16 && o.dtype == DType::f16) ||
                        (s.op == ChainOp::round_bf16 && o.dtype == DType::bf16);
    return rounds && s.a.kind == ChainOperand::step ? s.a.index : o.step;
  }

  ChainOperand copy(size_t piece, ChainOperand o) {
    if (o.kind == ChainOperand::number) return o;
    if (o.kind == ChainOperand::input) {
      const ValueId id = pieces_[piece]->inputs[static_cast<size_t>(o.index)];
      const auto& made = pieces_[0]->outputs;
      const auto it = std::find(made.begin(), made.end(), id);
      if (piece == 1 && it != made.end())
        return copy(0, {ChainOperand::step,
                        pieces_[0]->chain.outputs[static_cast<size_t>(it - made.begin())].step});
      const auto in = std::find(out_.inputs.begin(), out_.inputs.end(), id);
      o.index = static_cast<int>(in - out_.inputs.begin());
      if (in == out_.inputs.end()) out_.inputs.push_back(id);
      return o;
    }
    const ChainStep& s = pieces_[piece]->chain.steps[static_cast<size_t>(o.index)];
    const bool same = s.op == ChainOp::mul && s.b == ChainOperand{ChainOperand::number, 0, 1};
    return same ? copy(piece, s.a) : copy_step(piece, o.index);
  }

  ChainOperand copy_step(size_t piece, int index) {
    const auto key = std::pair(piece, index);
    if (const auto it = copied_.find(key); it != copied_.end()) return it->second;
    ChainStep s = pieces_[piece]->chain.steps[static_cast<size_t>(index)];
    s.a = copy(piece, s.a);
    if (takes_two(s.op)) s.b = copy(piece, s.b);
    if ((s.op == ChainOp::add || s.op == ChainOp::mul) && s.a.kind == ChainOperand::number)
      std::swap(s.a, s.b);
    auto& steps = out_.chain.steps;
    const auto same = std::find(steps.begin(), steps.end(), s);
    const auto at = static_cast<int>(same - steps.begin());
    if (same == steps.end()) steps.push_back(s);
    return copied_[key] = {ChainOperand::step, at};
  }

  const ChainPiece* const pieces_[2];
  ChainPiece out_;
  std::map<std::pair<size_t, int>, ChainOperand> copied_;
};

}  // namespace

std::optional<ChainPiece> join_pieces(const ChainPiece& first, const ChainPiece& second,
                                      const std::vector<ValueId>& outputs) {
  return Joiner(first, second).run(outputs);
}

}  // namespace tokamak
