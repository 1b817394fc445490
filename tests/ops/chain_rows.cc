// chain: programs over operands that stretch, of all dtypes; every step kind; several outputs.
#include <cmath>

#include "op_table.h"
#include "ops/chain.h"

namespace tokamak::test {
namespace {

using Types = std::vector<ValueType>;

OpSignature chain(const std::string& code, Types inputs) {
  return make_signature(Op::chain, Attrs().set("code", code), std::move(inputs));
}

// The shapes in which operands of one program meet.
void add_broadcasts(std::vector<OpSignature>& all) {
  const std::string code = "mul x0 x1; add x2 1.5; sub t0 x3; div t2 t1; tanh t3; out f32 t4";
  for (const DType t : kActivationTypes)
    for (const int64_t n : {33, 72}) {
      const ValueType x{t, {Symbol::tokens, n}}, row{t, {n}, true}, one{t, {Symbol::tokens, 1}};
      const ValueType scalar{DType::f32, {}};
      const std::string out = std::string("out ") + std::string(name(t)) + " t4";
      const std::string own = code.substr(0, code.find("out ")) + out;
      all.push_back(chain(own, {x, row, scalar, one}));
      all.push_back(chain(own, {x, x, row, x}));
      all.push_back(chain(own, {row, x, scalar, scalar}));
      all.push_back(chain(own, {one, x, one, row}));
      all.push_back(chain(code, {x, {DType::f32, {n}, true}, scalar, one}));
    }
  const ValueType cube{DType::f32, {Symbol::tokens, 3, 17}};
  all.push_back(chain(code, {cube,
                             {DType::f32, {3, 1}, true},
                             {DType::f32, {Symbol::tokens, 1, 17}},
                             {DType::f32, {17}, true}}));
  const ValueType half_cube{DType::bf16, {Symbol::tokens, 3, 16}};
  all.push_back(chain(code, {half_cube,
                             {DType::bf16, {3, 1}, true},
                             {DType::bf16, {Symbol::tokens, 1, 16}},
                             {DType::bf16, {16}, true}}));
  all.push_back(chain(code, {{DType::f32, {Symbol::tokens, 1}},
                             {DType::f32, {Symbol::tokens, 1}},
                             {DType::f32, {}},
                             {DType::f32, {1}, true}}));
}

std::vector<OpSignature> signatures() {
  std::vector<OpSignature> all;
  for (int i = 0; i < kChainOps; ++i) {
    const auto op = static_cast<ChainOp>(i);
    const std::string n(name(op));
    const std::string code = takes_two(op) ? n + " x0 x1; " + n + " x1 x0" : n + " x0; neg t0";
    for (const DType t : kActivationTypes) {
      const ValueType x{t, {Symbol::tokens, t == DType::f32 ? 65 : 40}};
      const std::string outs = fmt::format("; out {0} t0; out {0} t1", name(t));
      all.push_back(chain(code + outs, takes_two(op) ? Types{x, x} : Types{x}));
    }
  }
  add_broadcasts(all);
  for (const int64_t n : kOddSizes) {
    const ValueType x{DType::f32, {Symbol::sequences, n}};
    all.push_back(chain("mul x0 0.5; tanh t0; mul t1 x1; out f32 t2", {x, x}));
  }
  const ValueType wide{DType::f32, {Symbol::tokens, 1600}},
      half{DType::f16, {Symbol::tokens, 1600}};
  // Outputs of several dtypes, one of them twice, one that another step reads.
  all.push_back(
      chain("max x0 -0.25; exp t0; mul t0 x1; out f32 t0; out bf16 t1; out f16 t2; out "
            "f32 t0",
            {wide, half}));
  // Many values that live at once; one that is the same all along a row, and is an output.
  all.push_back(
      chain("add x0 1; mul x0 2; sub x0 3; max x0 4; min x0 5; abs x0; square x0; add t0 t1; add "
            "t7 t2; add t8 t3; add t9 t4; add t10 t5; add t11 t6; out f32 t12",
            {wide}));
  all.push_back(chain("exp x1; mul t0 3; mul x0 t1; out f32 t2; out f32 t1",
                      {wide, {DType::f32, {Symbol::tokens, 1}}}));
  all.push_back(chain("mul x0 0.1; round_bf16 x0; add t0 t1; out bf16 t2", {half}));
  return all;
}

// A step's number, and how large what it was computed from was: errors count against that.
struct Tracked {
  double value, size;
};

Tracked step(const ChainStep& s, Tracked a, Tracked b) {
  const std::string kind(name(s.op));
  const auto f = [&](double x, double y) {
    if (s.op == ChainOp::round_f16) return round_to(DType::f16, x);
    if (s.op == ChainOp::round_bf16) return round_to(DType::bf16, x);
    return takes_two(s.op) ? combine(kind, x, y) : activate_double(kind, x);
  };
  const double v = f(a.value, b.value);
  double size = std::fabs(v);
  const bool rounds = s.op == ChainOp::round_f16 || s.op == ChainOp::round_bf16;
  if (s.op == ChainOp::silu || s.op == ChainOp::gelu || s.op == ChainOp::gelu_tanh)
    size = std::max(size, std::fabs(a.value));
  // What an error of the operands, of a hundred thousandth of their size, would do.
  constexpr double kPart = 1e-5;
  if (!rounds)
    for (const int operand : {0, 1}) {
      if (operand == 1 && !takes_two(s.op)) continue;
      const double d = kPart * (operand == 0 ? a.size : b.size);
      const double moved = operand == 0 ? f(a.value + d, b.value) : f(a.value, b.value + d);
      const double moved_back = operand == 0 ? f(a.value - d, b.value) : f(a.value, b.value - d);
      for (const double m : {moved, moved_back})
        if (std::isfinite(m)) size = std::max(size, std::fabs(m - v) / kPart);
    }
  return {v, size};
}

std::vector<HostTensor> reference(const OpSignature& s, const std::vector<HostTensor>& in,
                                  const TestStep& test, HostKv&) {
  const Chain c = Chain::parse(s.attrs.get<std::string>("code"));
  std::vector<HostTensor> out;
  for (const ValueType& t : s.outputs)
    out.push_back(zeros(t, test.context.tokens, test.context.logit_rows));
  for (size_t i = 0; i < out[0].values.size(); ++i) {
    std::vector<Tracked> t;
    const auto read = [&](const ChainOperand& o) -> Tracked {
      if (o.kind == ChainOperand::number) return {o.value, std::fabs(o.value)};
      if (o.kind == ChainOperand::step) return t[static_cast<size_t>(o.index)];
      const HostTensor& x = in[static_cast<size_t>(o.index)];
      const double v = x.values[static_cast<size_t>(
          broadcast_index(x.shape, out[0].shape, static_cast<int64_t>(i)))];
      return {v, 0};
    };
    for (const ChainStep& st : c.steps)
      t.push_back(step(st, read(st.a), takes_two(st.op) ? read(st.b) : Tracked{}));
    for (size_t k = 0; k < out.size(); ++k) {
      const Tracked& y = t[static_cast<size_t>(c.outputs[k].step)];
      out[k].values[i] = y.value;
      out[k].magnitude.push_back(std::isfinite(y.size) ? y.size : std::fabs(y.value));
    }
  }
  return out;
}

}  // namespace

void add_chain_rows(std::vector<OpRow>& table) {
  table.push_back({Op::chain, signatures, reference});
}

}  // namespace tokamak::test
