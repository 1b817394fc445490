#include "nn/functional.h"

namespace tokamak::nn {
namespace {

Attrs kind_attr(const std::string& kind) { return Attrs().set("kind", kind); }

}  // namespace

Tensor constant(Builder& builder, double value) {
  return builder.node(Op::constant, Attrs().set("value", value), {}, "constant");
}

Tensor unary(const std::string& kind, Tensor x) {
  return x.builder->node(Op::unary, kind_attr(kind), {x}, kind);
}

Tensor binary(const std::string& kind, Tensor a, Tensor b) {
  return a.builder->node(Op::binary, kind_attr(kind), {a, b}, kind);
}

Tensor binary(const std::string& kind, Tensor a, double b) {
  return binary(kind, a, constant(*a.builder, b));
}

Tensor binary(const std::string& kind, double a, Tensor b) {
  return binary(kind, constant(*b.builder, a), b);
}

Tensor activate(Tensor x, Activation activation) {
  return activation == Activation::none ? x : unary(std::string(name(activation)), x);
}

Tensor reduce(const std::string& kind, Tensor x) {
  return x.builder->node(Op::reduce, kind_attr(kind), {x}, kind);
}

Tensor softmax(Tensor x) { return x.builder->node(Op::softmax, {}, {x}, "softmax"); }

Tensor cast(Tensor x, DType dtype) {
  if (x.type().dtype == dtype) return x;
  return x.builder->node(Op::cast, Attrs().set("dtype", std::string(name(dtype))), {x}, "cast");
}

Tensor slice(Tensor x, int64_t begin, int64_t end) {
  return x.builder->node(Op::slice, Attrs().set("begin", begin).set("end", end), {x}, "slice");
}

Tensor concat(const std::vector<Tensor>& parts) {
  TOKAMAK_ASSERT(!parts.empty());
  return parts[0].builder->node(Op::concat, {}, parts, "concat");
}

Tensor reshape(Tensor x, const std::vector<int64_t>& shape) {
  return x.builder->node(Op::reshape, Attrs().set("shape", shape), {x}, "reshape");
}

Tensor gather_rows(Tensor x) { return x.builder->node(Op::gather_rows, {}, {x}, "gather_rows"); }

Tensor softcap(Tensor x, double cap) {
  return x.builder->node(Op::softcap, Attrs().set("cap", cap), {x}, "softcap");
}

Tensor rope(Tensor x, Tensor positions, const RopeAttrs& attrs) {
  Attrs a;
  attrs.write_to(a);
  return x.builder->node(Op::rope, a, {x, positions}, "rope");
}

Tensor attention(Tensor q, Tensor k, Tensor v, Tensor positions, const AttentionAttrs& attrs) {
  return q.builder->node(Op::attention, attrs.to_attrs(), {q, k, v, positions}, "");
}

}  // namespace tokamak::nn
