#include <algorithm>

#include "ops/attention.h"
#include "ops/chain.h"
#include "ops/lora.h"
#include "ops/op.h"
#include "ops/plugin.h"

namespace tokamak {
namespace {

double elems(const ValueType& t, int64_t tokens, int64_t sequences) {
  double n = 1;
  for (const Dim& d : t.shape) n *= static_cast<double>(d.resolve(tokens, sequences));
  return n;
}

double bytes(const ValueType& t, int64_t tokens, int64_t sequences) {
  if (t.shape.empty()) return static_cast<double>(row_bytes(t.dtype, 1));
  const int64_t columns = t.shape.back().resolve(tokens, sequences);
  if (columns == 0) return 0;
  return elems(t, tokens, sequences) / static_cast<double>(columns) *
         static_cast<double>(row_bytes(t.dtype, columns));
}

double matmul_flops(const ValueType& x, const ValueType& w, int64_t tokens, int64_t sequences) {
  return 2 * elems(x, tokens, sequences) * static_cast<double>(w.shape[0].size);
}

// Keys that one sequence's queries see, and its share of the KV traffic (2-byte elements).
OpCost attention_cost(const OpSignature& s, int64_t tokens, int64_t sequences, int64_t context) {
  const AttentionAttrs a = AttentionAttrs::from(s.attrs);
  const double n = static_cast<double>(std::max<int64_t>(sequences, 1));
  const double queries = static_cast<double>(tokens) / n;
  double keys = static_cast<double>(context) / n;
  if (a.window > 0) keys = std::min(keys, static_cast<double>(a.window) + queries - 1);
  const double row = static_cast<double>(a.kv_heads * a.head_dim) * 2 * 2;
  // Causal: the queries of a chunk see on average keys - (queries - 1) / 2.
  const double seen = std::max(keys - (queries - 1) / 2, 1.0);
  return {row * (keys * n + static_cast<double>(tokens)),
          4.0 * static_cast<double>(a.heads * a.head_dim * tokens) * seen};
}

// Operations per output element of the cheap ops; transcendental functions count 8.
double elementwise_flops(const OpSignature& s) {
  switch (s.op) {
    case Op::unary:
      return 8;
    case Op::softmax:
    case Op::softcap:
    case Op::glu:
      return 10;
    case Op::chain:
      return chain_flops(Chain::parse(s.attrs.get<std::string>("code")));
    case Op::rms_norm:
      return 4;
    case Op::add_rms_norm:
    case Op::layer_norm:
      return 6;
    case Op::add_layer_norm:
      return 8;
    case Op::rope:
      return 6;
    default:
      return 1;
  }
}

}  // namespace

OpCost cost(const OpSignature& s, int64_t tokens, int64_t sequences, int64_t context_tokens) {
  if (s.op == Op::slice || s.op == Op::reshape || s.op == Op::constant) return {};
  if (s.op == Op::plugin) return plugin_cost(s.attrs, tokens);
  OpCost c;
  for (const ValueType& t : s.outputs) c.bytes += bytes(t, tokens, sequences);
  if (s.op == Op::embedding || s.op == Op::gather_rows) {
    // Only the wanted rows are read.
    const ValueType rows{s.op == Op::embedding ? s.inputs[1].dtype : s.inputs[0].dtype,
                         s.outputs[0].shape};
    c.bytes += bytes(rows, tokens, sequences);
    return c;
  }
  for (const ValueType& t : s.inputs) c.bytes += bytes(t, tokens, sequences);
  if (s.op == Op::linear || s.op == Op::linear_glu) {
    c.flops = matmul_flops(s.inputs[0], s.inputs[1], tokens, sequences);
    if (s.op == Op::linear_glu) c.flops *= 2;
    return c;
  }
  if (s.op == Op::attention) {
    const OpCost kv = attention_cost(s, tokens, sequences, context_tokens);
    c.bytes += kv.bytes;
    c.flops = kv.flops;
    return c;
  }
  if (s.op == Op::lora) {  // one adapter of the largest rank, in 16 bits
    const LoraAttrs a = LoraAttrs::from(s.attrs);
    const auto columns =
        static_cast<double>(s.outputs[0].shape.back().size +
                            static_cast<int64_t>(a.parts.size()) * s.inputs[0].shape.back().size);
    c.bytes += 2 * static_cast<double>(a.max_rank) * columns;
    c.flops = 2 * static_cast<double>(a.max_rank * tokens) * columns;
    return c;
  }
  const ValueType& shape = s.op == Op::reduce  ? s.inputs[0]
                           : s.outputs.empty() ? s.inputs[0]
                                               : s.outputs[0];
  c.flops = elementwise_flops(s) * elems(shape, tokens, sequences);
  return c;
}

}  // namespace tokamak
