// The ops of the graph, and what one use of an op looks like: its signature. A signature is all
// that a backend sees; its key() identifies it in the timing cache.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/dtype.h"
#include "ops/attrs.h"

namespace tokamak {

enum class Op : uint8_t {
  // Sources
  constant,  // attrs: value (double); a float32 scalar
  // Elementwise; operands broadcast over size-1 dimensions
  unary,   // attrs: kind, one of
           // neg|abs|exp|log|sqrt|rsqrt|square|tanh|erf|sigmoid|silu|gelu|gelu_tanh|relu
  binary,  // attrs: kind = add|sub|mul|div|pow|max|min
  cast,    // attrs: dtype
  // Over the last dimension
  reduce,  // attrs: kind = sum|mean|max; keeps the dimension with size 1
  softmax,
  // Views and moves
  slice,        // attrs: begin, end: of the last dimension; a view, never a copy
  concat,       // along the last dimension
  reshape,      // attrs: shape: 0 keeps that dimension, -1 (once) the rest; a symbolic first stays
  gather_rows,  // [tokens, n] → [sequences, n]: the rows whose logits are wanted
  // Composed
  embedding,       // ids [tokens] i32, table [vocab, n] → [tokens, n]; attrs: scale, dtype (f32)
  linear,          // ops/linear.h
  linear_glu,      // ops/linear.h
  glu,             // (a, b) → activation(a) * b; attrs: activation
  rms_norm,        // x, weight[n] → x / rms(x) * weight; attrs: eps
  add_rms_norm,    // x, residual (or f32), weight → (norm(sum), sum as residual); attrs: eps
  layer_norm,      // x, weight[n], bias[n]? → …; attrs: eps
  add_layer_norm,  // x, residual, weight, bias? → (norm, sum); attrs: eps
  rope,            // ops/rope.h
  attention,       // ops/attention.h
  softcap,         // cap * tanh(x / cap); attrs: cap
  chain,           // elementwise ops joined into one: ops/chain.h
  lora,            // ops/lora.h
  // Communication between ranks
  all_reduce,
  all_gather,
  send,
  recv,
  // A user's own op from a plug-in library; attrs: name and the user's
  plugin,
};
inline constexpr int kOpCount = static_cast<int>(Op::plugin) + 1;

std::string_view name(Op op);
Op parse_op(std::string_view text);  // Error lists the known ones

// Sizes known only at run time: packed tokens of a step; rows whose logits are wanted (one per
// sequence normally, more when every position is asked for).
enum class Symbol : uint8_t { none, tokens, sequences };

struct Dim {
  int64_t size = 1;  // used when symbol is none
  Symbol symbol = Symbol::none;
  Dim(int64_t n) : size(n) {}  // NOLINT: a size reads as a dimension
  Dim(Symbol s) : size(0), symbol(s) {}
  bool fixed() const { return symbol == Symbol::none; }
  int64_t resolve(int64_t tokens, int64_t sequences) const {
    return symbol == Symbol::tokens ? tokens : symbol == Symbol::sequences ? sequences : size;
  }
  bool operator==(const Dim&) const = default;
};
using SymShape = std::vector<Dim>;
std::string str(const SymShape& shape);  // "[tokens, 576]"

struct ValueType {
  DType dtype = DType::f32;
  SymShape shape;
  bool is_weight = false;
  bool operator==(const ValueType&) const = default;
};
// Such weights have layouts (backend.h); vectors are stored as they are.
inline bool is_matrix_weight(const ValueType& t) { return t.is_weight && t.shape.size() >= 2; }
std::string str(const ValueType& type);  // "f32[tokens, 576]", weights "q4_1{576, 576}"

struct OpSignature {
  Op op = Op::unary;
  Attrs attrs;
  std::vector<ValueType> inputs, outputs;
  std::string key() const;
};

// Bytes that the op must at least move and floating point operations (a multiply-add counts 2) for
// one step. attention adds its KV traffic from context_tokens, the sum of context lengths.
struct OpCost {
  double bytes = 0, flops = 0;
};
OpCost cost(const OpSignature& signature, int64_t tokens, int64_t sequences,
            int64_t context_tokens);

// Checks the inputs of an op and returns its outputs' types. Error: op name, operand, found,
// expected.
std::vector<ValueType> infer(Op op, const Attrs& attrs, const std::vector<ValueType>& inputs);

}  // namespace tokamak
