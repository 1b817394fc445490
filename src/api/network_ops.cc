// The functions of network.h: each appends ops through nn/.
#include "api/network_graph.h"
#include "ops/linear.h"

namespace tokamak::network {
namespace {

Tensor binary(const char* kind, Tensor a, Tensor b) {
  return Access::out(a, nn::binary(kind, Access::in(a), Access::in(b, a)));
}
Tensor binary(const char* kind, Tensor a, double b) {
  return Access::out(a, nn::binary(kind, Access::in(a), b));
}
Tensor binary(const char* kind, double a, Tensor b) {
  return Access::out(b, nn::binary(kind, a, Access::in(b)));
}
Tensor unary(const char* kind, Tensor x) { return Access::out(x, nn::unary(kind, Access::in(x))); }

Tensor node(Op op, Attrs attrs, const std::vector<Tensor>& inputs, const char* name) {
  std::vector<nn::Tensor> in;
  for (const Tensor& t : inputs) in.push_back(Access::in(t, inputs[0]));
  return Access::out(inputs[0], in[0].builder->node(op, std::move(attrs), in, name));
}

}  // namespace

std::vector<int64_t> Tensor::shape() const {
  std::vector<int64_t> sizes;
  for (const Dim& d : graph_->tensor(id_).type().shape)
    sizes.push_back(d.fixed() ? d.size : tokens);
  return sizes;
}

Tensor operator+(Tensor a, Tensor b) { return binary("add", a, b); }
Tensor operator-(Tensor a, Tensor b) { return binary("sub", a, b); }
Tensor operator*(Tensor a, Tensor b) { return binary("mul", a, b); }
Tensor operator/(Tensor a, Tensor b) { return binary("div", a, b); }
Tensor operator+(Tensor a, double b) { return binary("add", a, b); }
Tensor operator-(Tensor a, double b) { return binary("sub", a, b); }
Tensor operator*(Tensor a, double b) { return binary("mul", a, b); }
Tensor operator/(Tensor a, double b) { return binary("div", a, b); }
Tensor operator+(double a, Tensor b) { return binary("add", a, b); }
Tensor operator-(double a, Tensor b) { return binary("sub", a, b); }
Tensor operator*(double a, Tensor b) { return binary("mul", a, b); }
Tensor operator/(double a, Tensor b) { return binary("div", a, b); }
Tensor operator-(Tensor x) { return unary("neg", x); }
Tensor pow(Tensor x, double exponent) { return binary("pow", x, exponent); }
Tensor pow(Tensor x, Tensor exponent) { return binary("pow", x, exponent); }
Tensor maximum(Tensor a, Tensor b) { return binary("max", a, b); }
Tensor maximum(Tensor a, double b) { return binary("max", a, b); }
Tensor minimum(Tensor a, Tensor b) { return binary("min", a, b); }
Tensor minimum(Tensor a, double b) { return binary("min", a, b); }

Tensor abs(Tensor x) { return unary("abs", x); }
Tensor exp(Tensor x) { return unary("exp", x); }
Tensor log(Tensor x) { return unary("log", x); }
Tensor sqrt(Tensor x) { return unary("sqrt", x); }
Tensor rsqrt(Tensor x) { return unary("rsqrt", x); }
Tensor square(Tensor x) { return unary("square", x); }
Tensor tanh(Tensor x) { return unary("tanh", x); }
Tensor erf(Tensor x) { return unary("erf", x); }
Tensor sigmoid(Tensor x) { return unary("sigmoid", x); }
Tensor silu(Tensor x) { return unary("silu", x); }
Tensor gelu(Tensor x) { return unary("gelu", x); }
Tensor gelu_tanh(Tensor x) { return unary("gelu_tanh", x); }
Tensor relu(Tensor x) { return unary("relu", x); }

Tensor sum(Tensor x) { return Access::out(x, nn::reduce("sum", Access::in(x))); }
Tensor mean(Tensor x) { return Access::out(x, nn::reduce("mean", Access::in(x))); }
Tensor max(Tensor x) { return Access::out(x, nn::reduce("max", Access::in(x))); }
Tensor softmax(Tensor x) { return Access::out(x, nn::softmax(Access::in(x))); }
Tensor softcap(Tensor x, double cap) { return Access::out(x, nn::softcap(Access::in(x), cap)); }
Tensor slice(Tensor x, int64_t begin, int64_t end) {
  return Access::out(x, nn::slice(Access::in(x), begin, end));
}
Tensor concat(const std::vector<Tensor>& parts) {
  if (parts.empty()) fail("concat: no operands; expected at least one");
  return node(Op::concat, {}, parts, "concat");
}
Tensor reshape(Tensor x, const std::vector<int64_t>& shape) {
  return Access::out(x, nn::reshape(Access::in(x), shape));
}
Tensor linear(Tensor x, Tensor weight) { return node(Op::linear, {}, {x, weight}, "linear"); }
Tensor linear(Tensor x, Tensor weight, Tensor bias) {
  return node(Op::linear, LinearAttrs{.has_bias = true}.to_attrs(), {x, weight, bias}, "linear");
}
Tensor rms_norm(Tensor x, Tensor weight, double eps) {
  return node(Op::rms_norm, Attrs().set("eps", eps), {x, weight}, "rms_norm");
}
Tensor layer_norm(Tensor x, Tensor weight, Tensor bias, double eps) {
  return node(Op::layer_norm, Attrs().set("eps", eps), {x, weight, bias}, "layer_norm");
}

}  // namespace tokamak::network
