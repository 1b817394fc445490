// Functions and operators over tensors; each appends one op (operators with a number append a
// constant too). Shapes broadcast from the right; functions over "rows" work on the last dimension.
#pragma once
#include <string>
#include <vector>

#include "nn/builder.h"
#include "ops/activation.h"
#include "ops/attention.h"

namespace tokamak::nn {

Tensor constant(Builder& builder, double value);
Tensor unary(const std::string& kind, Tensor x);
Tensor binary(const std::string& kind, Tensor a, Tensor b);
Tensor binary(const std::string& kind, Tensor a, double b);
Tensor binary(const std::string& kind, double a, Tensor b);

template <typename A, typename B>
concept TensorPair = (std::is_same_v<A, Tensor> || std::is_arithmetic_v<A>)&&(
    std::is_same_v<B, Tensor> || std::is_arithmetic_v<B>)&&(std::is_same_v<A, Tensor> ||
                                                            std::is_same_v<B, Tensor>);
template <typename A, typename B>
requires TensorPair<A, B> Tensor operator+(A a, B b) { return binary("add", a, b); }
template <typename A, typename B>
requires TensorPair<A, B> Tensor operator-(A a, B b) { return binary("sub", a, b); }
template <typename A, typename B>
requires TensorPair<A, B> Tensor operator*(A a, B b) { return binary("mul", a, b); }
template <typename A, typename B>
requires TensorPair<A, B> Tensor operator/(A a, B b) { return binary("div", a, b); }
inline Tensor operator-(Tensor x) { return unary("neg", x); }
template <typename B>
requires TensorPair<Tensor, B> Tensor pow(Tensor a, B b) { return binary("pow", a, b); }

inline Tensor sqrt(Tensor x) { return unary("sqrt", x); }
inline Tensor rsqrt(Tensor x) { return unary("rsqrt", x); }
inline Tensor exp(Tensor x) { return unary("exp", x); }
inline Tensor tanh(Tensor x) { return unary("tanh", x); }
inline Tensor erf(Tensor x) { return unary("erf", x); }
inline Tensor sigmoid(Tensor x) { return unary("sigmoid", x); }
Tensor activate(Tensor x, Activation activation);  // none: x itself

Tensor reduce(const std::string& kind, Tensor x);  // over rows, keeps size 1
inline Tensor mean(Tensor x) { return reduce("mean", x); }
inline Tensor sum(Tensor x) { return reduce("sum", x); }
Tensor softmax(Tensor x);
Tensor cast(Tensor x, DType dtype);  // x itself when it has that dtype
Tensor slice(Tensor x, int64_t begin, int64_t end);
Tensor concat(const std::vector<Tensor>& parts);
Tensor reshape(Tensor x, const std::vector<int64_t>& shape);  // ops/op.h: 0 keeps, -1 the rest
Tensor gather_rows(Tensor x);
Tensor softcap(Tensor x, double cap);
Tensor rope(Tensor x, Tensor positions, const RopeAttrs& attrs);
Tensor attention(Tensor q, Tensor k, Tensor v, Tensor positions, const AttentionAttrs& attrs);

}  // namespace tokamak::nn
