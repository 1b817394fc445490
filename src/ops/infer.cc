// Shape and type inference: one small function per group of ops.
#include <algorithm>
#include <array>
#include <span>

#include "ops/attention.h"
#include "ops/chain.h"
#include "ops/linear.h"
#include "ops/lora.h"
#include "ops/op.h"
#include "ops/plugin.h"
#include "ops/rope.h"

namespace tokamak {
namespace {

// One use of an op that is being checked; its members raise the errors.
struct Check {
  Op op;
  const Attrs& attrs;
  const std::vector<ValueType>& in;

  [[noreturn]] void operand(size_t i, std::string_view role, std::string_view expected) const {
    fail("{}: operand {} ({}) is {}; expected {}", name(op), i, role, str(in[i]), expected);
  }
  void count(size_t low, size_t high) const {
    if (in.size() >= low && in.size() <= high) return;
    fail("{}: found {} operands; expected {}", name(op), in.size(),
         low == high ? std::to_string(low) : fmt::format("{} to {}", low, high));
  }
  void compute_float(size_t i, std::string_view role) const {
    const DType t = in[i].dtype;
    if (t != DType::f32 && t != DType::f16 && t != DType::bf16)
      operand(i, role, "elements of f32, f16 or bf16");
  }
  // A tensor of floats with at least one dimension.
  void activation(size_t i, std::string_view role) const {
    compute_float(i, role);
    if (in[i].shape.empty()) operand(i, role, "at least one dimension");
    if (!in[i].shape.back().fixed()) operand(i, role, "a last dimension of known size");
  }
  void same(size_t i, std::string_view role, const ValueType& like) const {
    if (in[i].dtype != like.dtype || in[i].shape != like.shape)
      operand(i, role, str(ValueType{like.dtype, like.shape}));
  }
  // A row of plain floats, e.g. a bias or a norm's weight.
  void vector(size_t i, std::string_view role, int64_t n) const {
    compute_float(i, role);
    if (in[i].shape != SymShape{n}) operand(i, role, fmt::format("a vector of {} floats", n));
  }
  int64_t width(size_t i) const { return in[i].shape.back().size; }
};

ValueType activation_like(const ValueType& t) { return {t.dtype, t.shape, false}; }

ValueType with_width(const ValueType& t, int64_t n) {
  ValueType out = activation_like(t);
  out.shape.back() = n;
  return out;
}

std::string require_kind(const Check& c, std::span<const std::string_view> kinds) {
  const std::string kind = c.attrs.get<std::string>("kind");
  std::string known;
  for (std::string_view k : kinds) {
    if (k == kind) return kind;
    known += (known.empty() ? "" : ", ") + std::string(k);
  }
  fail("{}: unknown kind '{}'; known: {}", name(c.op), kind, known);
}

constexpr std::array<std::string_view, 14> kUnaryKinds = {
    "neg",  "abs", "exp",     "log",  "sqrt", "rsqrt",     "square",
    "tanh", "erf", "sigmoid", "silu", "gelu", "gelu_tanh", "relu"};
constexpr std::array<std::string_view, 7> kBinaryKinds = {"add", "sub", "mul", "div",
                                                          "pow", "max", "min"};
constexpr std::array<std::string_view, 3> kReduceKinds = {"sum", "mean", "max"};

// Right-aligned; a dimension of size 1 stretches.
SymShape broadcast(const Check& c, const SymShape& a, const SymShape& b) {
  SymShape out(std::max(a.size(), b.size()), Dim(1));
  for (size_t i = 0; i < out.size(); ++i) {
    const Dim one(1);
    const Dim x = i < a.size() ? a[a.size() - 1 - i] : one;
    const Dim y = i < b.size() ? b[b.size() - 1 - i] : one;
    if (x != y && x != one && y != one)
      fail("{}{}: shapes {} and {} do not broadcast (dimension {} from the right)", name(c.op),
           c.op == Op::binary ? " " + c.attrs.get<std::string>("kind") : "", str(a), str(b), i + 1);
    out[out.size() - 1 - i] = x == one ? y : x;
  }
  return out;
}

// Scalars and weights adapt to the other operand; two activations must agree.
DType common_dtype(const Check& c) {
  const ValueType &a = c.in[0], &b = c.in[1];
  if (a.dtype == b.dtype) return a.dtype;
  const auto adapts = [](const ValueType& t) { return t.is_weight || t.shape.empty(); };
  if (adapts(b) && (!adapts(a) || b.shape.empty())) return a.dtype;
  if (adapts(a) && (!adapts(b) || a.shape.empty())) return b.dtype;
  if (adapts(a) && adapts(b)) return DType::f32;
  fail("{} {}: operands are {} and {}; expected equal element types (cast one)", name(c.op),
       c.attrs.get<std::string>("kind"), str(a), str(b));
}

std::vector<ValueType> elementwise(const Check& c) {
  if (c.op == Op::binary) {
    c.count(2, 2);
    require_kind(c, kBinaryKinds);
    c.compute_float(0, "left");
    c.compute_float(1, "right");
    return {{common_dtype(c), broadcast(c, c.in[0].shape, c.in[1].shape)}};
  }
  c.count(1, 1);
  if (c.op == Op::cast) {
    const DType to = parse_dtype(c.attrs.get<std::string>("dtype"));
    if (is_block_format(to) || is_block_format(c.in[0].dtype))
      fail("cast: {} to {}: block formats are only weights of linear and embedding", str(c.in[0]),
           name(to));
    return {{to, c.in[0].shape}};
  }
  if (c.op == Op::unary) require_kind(c, kUnaryKinds);
  if (c.op == Op::softcap && !(c.attrs.get<double>("cap") > 0))
    fail("softcap: cap must be positive, found {}", c.attrs.get<double>("cap"));
  c.compute_float(0, "x");
  return {activation_like(c.in[0])};
}

std::vector<ValueType> chain(const Check& c) {
  const Chain chain = Chain::parse(c.attrs.get<std::string>("code"));
  const auto n = static_cast<size_t>(chain.inputs());
  c.count(n, n);
  SymShape shape;
  for (size_t i = 0; i < n; ++i) {
    c.compute_float(i, "x");
    shape = broadcast(c, shape, c.in[i].shape);
  }
  if (shape.empty() || !shape.back().fixed())
    fail("chain: its operands have shape {}; expected a last dimension of known size", str(shape));
  std::vector<ValueType> out;
  for (const ChainOutput& o : chain.outputs) out.push_back({o.dtype, shape});
  return out;
}

std::vector<ValueType> over_rows(const Check& c) {
  c.count(1, 1);
  c.activation(0, "x");
  if (c.op == Op::softmax) return {activation_like(c.in[0])};
  require_kind(c, kReduceKinds);
  return {with_width(c.in[0], 1)};
}

std::vector<ValueType> slice(const Check& c) {
  c.count(1, 1);
  c.activation(0, "x");
  const int64_t begin = c.attrs.get<int64_t>("begin"), end = c.attrs.get<int64_t>("end");
  if (begin < 0 || end <= begin || end > c.width(0))
    fail("slice: columns {} to {} of {}; expected 0 <= begin < end <= {}", begin, end, str(c.in[0]),
         c.width(0));
  return {with_width(c.in[0], end - begin)};
}

std::vector<ValueType> concat(const Check& c) {
  if (c.in.empty()) fail("concat: no operands; expected at least one");
  int64_t width = 0;
  for (size_t i = 0; i < c.in.size(); ++i) {
    c.activation(i, "part");
    c.same(i, "part", with_width(c.in[0], c.width(i)));
    width += c.width(i);
  }
  return {with_width(c.in[0], width)};
}

// shape: one entry per new dimension; 0 keeps the input's dimension at that place, -1 (once) takes
// what is left. A symbolic leading dimension can only be kept, so entry 0 is then 0 or -1.
std::vector<ValueType> reshape(const Check& c) {
  c.count(1, 1);
  const SymShape& from = c.in[0].shape;
  const auto want = c.attrs.get<std::vector<int64_t>>("shape");
  const auto bad = [&](std::string_view why) {
    fail("reshape: {} to {}: {}", str(c.in[0]), c.attrs.key(), why);
  };
  const bool symbolic = !from.empty() && !from[0].fixed();
  int64_t have = 1, given = 1;
  for (size_t i = symbolic; i < from.size(); ++i) have *= from[i].size;
  SymShape out;
  int free = -1;
  for (size_t i = 0; i < want.size(); ++i) {
    const bool keeps = want[i] == 0 || (symbolic && i == 0 && want[i] == -1);
    if (symbolic && i == 0 && !keeps) bad("the symbolic leading dimension must stay (0 or -1)");
    if (keeps && i >= from.size()) bad("0 keeps a dimension that the input does not have");
    if (!keeps && want[i] == -1 && free >= 0) bad("-1 may stand once");
    if (!keeps && (want[i] < -1)) bad("sizes must be positive");
    if (!keeps && want[i] == -1) free = static_cast<int>(i);
    out.push_back(keeps ? from[i] : Dim(want[i] == -1 ? 1 : want[i]));
    if (out.back().fixed()) given *= out.back().size;
  }
  if (symbolic && out.empty()) bad("the symbolic leading dimension must stay (0 or -1)");
  if (free >= 0) {
    if (have % given) bad(fmt::format("{} elements do not divide by {}", have, given));
    out[free] = have / given;
  } else if (have != given) {
    // A leading -1 that kept the symbol may not also absorb a difference.
    bad(fmt::format("{} elements{} do not become {}", have, symbolic ? " a row" : "", given));
  }
  return {{c.in[0].dtype, out}};
}

std::vector<ValueType> gather_rows(const Check& c) {
  c.count(1, 1);
  c.activation(0, "x");
  if (c.in[0].shape[0].symbol != Symbol::tokens) c.operand(0, "x", "a leading dimension 'tokens'");
  ValueType out = activation_like(c.in[0]);
  out.shape[0] = Symbol::sequences;
  return {out};
}

void check_blocks(const Check& c, size_t i, std::string_view role) {
  const DType t = c.in[i].dtype;
  if (!fits_row(t, c.in[i].shape.back().size))
    c.operand(i, role, fmt::format("rows that divide into blocks of {}", row_step(t)));
}

// A matrix of weights [n, k]; returns n.
int64_t matrix(const Check& c, size_t i, std::string_view role, int64_t k) {
  const ValueType& w = c.in[i];
  if (!w.is_weight) c.operand(i, role, "a weight, not an activation");
  if (w.shape.size() != 2 || w.shape[1] != Dim(k))
    c.operand(i, role, fmt::format("a weight {{n, {}}}", k));
  check_blocks(c, i, role);
  return w.shape[0].size;
}

std::vector<ValueType> embedding(const Check& c) {
  c.count(2, 2);
  if (c.in[0].dtype != DType::i32 || c.in[0].shape.size() != 1) c.operand(0, "ids", "i32[tokens]");
  const ValueType& table = c.in[1];
  if (!table.is_weight || table.shape.size() != 2) c.operand(1, "table", "a weight {vocab, n}");
  check_blocks(c, 1, "table");
  const DType dtype = parse_dtype(c.attrs.get_or<std::string>("dtype", "f32"));
  return {{dtype, {c.in[0].shape[0], table.shape[1]}}};
}

std::vector<ValueType> linear(const Check& c) {
  const LinearAttrs a = LinearAttrs::from(c.attrs);
  const size_t n_in = 2 + a.has_bias + a.has_residual;
  c.count(n_in, n_in);
  c.activation(0, "x");
  const int64_t n = matrix(c, 1, "weight", c.width(0));
  ValueType out = with_width(c.in[0], n);
  if (a.float32) out.dtype = DType::f32;
  if (a.has_bias) c.vector(2, "bias", n);
  if (a.has_residual) c.same(n_in - 1, "residual", out);
  return {out};
}

std::vector<ValueType> linear_glu(const Check& c) {
  const LinearAttrs a = LinearAttrs::from(c.attrs);
  if (a.has_residual) fail("linear_glu: has_residual is not one of its attributes");
  if (a.float32) fail("linear_glu: float32 is not one of its attributes");
  const size_t n_in = a.has_bias ? 5 : 3;
  c.count(n_in, n_in);
  c.activation(0, "x");
  const int64_t n = matrix(c, 1, "weight_a", c.width(0));
  if (matrix(c, 2, "weight_b", c.width(0)) != n)
    c.operand(2, "weight_b", fmt::format("as many rows as weight_a ({})", n));
  if (a.has_bias) {
    c.vector(3, "bias_a", n);
    c.vector(4, "bias_b", n);
  }
  return {with_width(c.in[0], n)};
}

std::vector<ValueType> glu(const Check& c) {
  c.count(2, 2);
  parse_activation(c.attrs.get<std::string>("activation"));
  c.activation(0, "a");
  c.same(1, "b", c.in[0]);
  return {activation_like(c.in[0])};
}

std::vector<ValueType> norm(const Check& c) {
  const bool adds = c.op == Op::add_rms_norm || c.op == Op::add_layer_norm;
  const bool layer = c.op == Op::layer_norm || c.op == Op::add_layer_norm;
  const size_t weight = adds ? 2 : 1;
  c.count(weight + 1, weight + 1 + layer);
  if (!(c.attrs.get<double>("eps") >= 0))
    fail("{}: eps must not be negative, found {}", name(c.op), c.attrs.get<double>("eps"));
  c.activation(0, "x");
  // Sums may be kept in float32 beside narrower x.
  const bool wide = adds && c.in[1].dtype == DType::f32;
  if (adds) c.same(1, "residual", {wide ? DType::f32 : c.in[0].dtype, c.in[0].shape});
  c.vector(weight, "weight", c.width(0));
  if (c.in.size() > weight + 1) c.vector(weight + 1, "bias", c.width(0));
  std::vector<ValueType> out = {activation_like(c.in[0])};
  if (adds) out.push_back(activation_like(c.in[1]));
  return out;
}

void positions(const Check& c, size_t i) {
  if (c.in[i].dtype != DType::i32 || c.in[i].shape != SymShape{c.in[0].shape[0]})
    c.operand(i, "positions", str(ValueType{DType::i32, {c.in[0].shape[0]}}));
}

std::vector<ValueType> rope(const Check& c) {
  c.count(2, 2);
  const RopeAttrs a = RopeAttrs::from(c.attrs);
  c.activation(0, "x");
  if (c.in[0].shape.size() != 2 || c.width(0) % a.head_dim)
    c.operand(0, "x", fmt::format("[tokens, heads * {}]", a.head_dim));
  positions(c, 1);
  return {activation_like(c.in[0])};
}

std::vector<ValueType> attention(const Check& c) {
  const AttentionAttrs a = AttentionAttrs::from(c.attrs);
  const size_t n_in = a.qk_norm ? 6 : 4;
  c.count(n_in, n_in);
  if (a.heads <= 0 || a.kv_heads <= 0 || a.heads % a.kv_heads || a.head_dim <= 0)
    fail(
        "attention: heads {}, kv_heads {}, head_dim {}; expected positive, heads a multiple of "
        "kv_heads",
        a.heads, a.kv_heads, a.head_dim);
  if (a.has_rope && a.rope.head_dim != a.head_dim)
    fail("attention: rope_head_dim {} differs from head_dim {}", a.rope.head_dim, a.head_dim);
  c.activation(0, "q");
  if (c.in[0].shape != SymShape{Symbol::tokens, a.heads * a.head_dim})
    c.operand(0, "q", fmt::format("[tokens, {}] (heads * head_dim)", a.heads * a.head_dim));
  const ValueType kv{c.in[0].dtype, {Symbol::tokens, a.kv_heads * a.head_dim}};
  c.same(1, "k", kv);
  c.same(2, "v", kv);
  positions(c, 3);
  if (a.qk_norm) {
    c.vector(4, "q_weight", a.head_dim);
    c.vector(5, "k_weight", a.head_dim);
  }
  return {activation_like(c.in[0])};
}

std::vector<ValueType> lora(const Check& c) {
  c.count(2, 2);
  const LoraAttrs a = LoraAttrs::from(c.attrs);
  c.activation(0, "x");
  c.activation(1, "y");
  if (c.in[0].shape != SymShape{Symbol::tokens, c.width(0)}) c.operand(0, "x", "[tokens, k]");
  int64_t width = 0;
  for (const int64_t w : a.widths) {
    if (w <= 0 || w > c.width(1)) fail("lora: a part of {} columns of {}", w, c.width(1));
    width += w;
  }
  if (a.parts.size() != a.widths.size() || a.parts.empty() ||
      std::any_of(a.parts.begin(), a.parts.end(), [](int64_t p) { return p < 0; }))
    fail("lora: {} parts of {} widths; expected as many, and numbers from 0 on", a.parts.size(),
         a.widths.size());
  if (a.max_rank < 1 || a.max_rank > kMostLoraRank)
    fail("lora: max_rank {}; expected 1 to {}", a.max_rank, kMostLoraRank);
  // Sums may be wider than what they are of.
  const DType y = c.in[1].dtype == DType::f32 ? DType::f32 : c.in[0].dtype;
  c.same(1, "y", {y, {Symbol::tokens, width}});
  return {activation_like(c.in[1])};
}

std::vector<ValueType> communication(const Check& c) {
  if (c.op == Op::recv) {
    c.count(0, 0);
    return {{parse_dtype(c.attrs.get<std::string>("dtype")),
             {Symbol::tokens, c.attrs.get<int64_t>("width")}}};
  }
  c.count(1, 1);
  c.activation(0, "x");
  if (c.op == Op::send) return {};
  if (c.op == Op::all_reduce) return {activation_like(c.in[0])};
  return {with_width(c.in[0], c.width(0) * c.attrs.get<int64_t>("ranks"))};
}

}  // namespace

std::vector<ValueType> infer(Op op, const Attrs& attrs, const std::vector<ValueType>& inputs) {
  const Check c{op, attrs, inputs};
  switch (op) {
    case Op::constant:
      c.count(0, 0);
      attrs.get<double>("value");
      return {{DType::f32, {}}};
    case Op::unary:
    case Op::binary:
    case Op::cast:
    case Op::softcap:
      return elementwise(c);
    case Op::chain:
      return chain(c);
    case Op::reduce:
    case Op::softmax:
      return over_rows(c);
    case Op::slice:
      return slice(c);
    case Op::concat:
      return concat(c);
    case Op::reshape:
      return reshape(c);
    case Op::gather_rows:
      return gather_rows(c);
    case Op::embedding:
      return embedding(c);
    case Op::linear:
      return linear(c);
    case Op::linear_glu:
      return linear_glu(c);
    case Op::glu:
      return glu(c);
    case Op::rms_norm:
    case Op::add_rms_norm:
    case Op::layer_norm:
    case Op::add_layer_norm:
      return norm(c);
    case Op::rope:
      return rope(c);
    case Op::attention:
      return attention(c);
    case Op::lora:
      return lora(c);
    case Op::all_reduce:
    case Op::all_gather:
    case Op::send:
    case Op::recv:
      return communication(c);
    case Op::plugin:
      return plugin_outputs(attrs);
  }
  TOKAMAK_ASSERT(false);
  return {};
}

}  // namespace tokamak
