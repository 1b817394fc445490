// linear and linear_glu over every weight dtype, with each option, at odd sizes.
#include <algorithm>
#include <cmath>

#include "backend/cpu/element.h"
#include "op_table.h"
#include "ops/linear.h"

namespace tokamak::test {
namespace {

constexpr double kStaticScale = 0.7;  // its codes reach beyond the outliers

struct Size {
  int64_t n, k;
};

bool is_weight_dtype(DType t) { return is_block_format(t) || is_activation_dtype(t); }

std::vector<Size> sizes_of(DType t) {
  const int64_t block = info(t).block_elems;
  if (block == 256) return {{33, 256}, {5, 768}};
  if (block > 32) return {{1, block}, {33, 3 * block}, {65, 9 * block}};
  if (block == 0) return {{1, 32}, {17, 46}, {33, 96}, {65, 576}};
  if (is_block_format(t)) return {{1, 32}, {33, 96}, {65, 576}};
  return {{1, 1}, {3, 31}, {33, 65}, {65, 576}};
}

std::vector<ValueType> inputs_of(Op op, const LinearAttrs& a, DType x, DType w, Size size,
                                 Symbol rows) {
  const ValueType weight{w, {size.n, size.k}, true}, vector{DType::f32, {size.n}, true};
  std::vector<ValueType> in = {{x, {rows, size.k}}, weight};
  if (op == Op::linear_glu) in.push_back(weight);
  if (a.has_bias) in.push_back(vector);
  if (a.has_bias && op == Op::linear_glu) in.push_back(vector);
  if (a.has_residual) in.push_back({a.float32 ? DType::f32 : x, {rows, size.n}});
  return in;
}

template <Op op>
std::vector<OpSignature> signatures() {
  std::vector<OpSignature> all;
  const auto add = [&](LinearAttrs a, DType x, DType w, Size size, Symbol rows = Symbol::tokens) {
    if (op == Op::linear_glu) a.has_residual = a.float32 = false;
    all.push_back(make_signature(op, a.to_attrs(), inputs_of(op, a, x, w, size, rows)));
  };
  const Activation usual = op == Op::linear_glu ? Activation::silu : Activation::none;
  for (int i = 0; i < kDTypeCount; ++i) {
    const DType w = static_cast<DType>(i);
    if (!is_weight_dtype(w)) continue;
    for (const Size size : sizes_of(w)) add({usual}, DType::f32, w, size);
    if (is_block_format(w)) add({usual, false, false, 8}, DType::f32, w, sizes_of(w).back());
    add({Activation::gelu_tanh, true, true}, DType::f32, w, sizes_of(w).back());
    add({usual, false, false, 16, true}, DType::f32, w, sizes_of(w).back());
  }
  for (const Activation a :
       {Activation::none, Activation::silu, Activation::gelu, Activation::gelu_tanh,
        Activation::relu, Activation::sigmoid, Activation::tanh})
    add({a, true}, DType::f32, DType::f32, {33, 65});
  for (const DType x : kActivationTypes) add({usual, false, true}, x, x, {33, 64});
  // 16-bit activations beside every weight, at sizes that several blocks of a GPU share.
  for (const DType x : {DType::f16, DType::bf16}) {
    for (int i = 0; i < kDTypeCount; ++i)
      if (const DType w = static_cast<DType>(i); is_block_format(w))
        add({usual, false, true}, x, w, {72, sizes_of(w).back().k});
    for (const bool bias : {false, true})
      for (const Size size : {Size{192, 512}, Size{72, 1032}}) add({usual, bias, true}, x, x, size);
  }
  for (const DType x : {DType::f16, DType::bf16})
    if (op == Op::linear)
      for (const DType w : {x, DType::f8_row, DType::int8_g64, DType::q4_1, DType::q6_k})
        for (const bool residual : {false, true})
          add({.has_residual = residual, .float32 = true}, x, w, {192, 512});
  add({usual}, DType::f32, DType::bf16, {130, 64}, Symbol::sequences);
  for (const DType x : {DType::f16, DType::bf16})  // what FP8 weights meet on a GPU
    for (const int64_t bits : {16, 8}) {
      add({usual, false, true, bits}, x, DType::f8_row, {2200, 128});
      add({Activation::gelu_tanh, true, true, bits}, x, DType::f8_row, {40, 192});
      if (bits == 8) add({usual, true, true, bits}, x, DType::f8_row, {176, 192});
      if (bits == 8)
        for (const Size size : {Size{176, 192}, Size{2200, 128}})
          add({usual, false, true, bits, false, false, kStaticScale}, x, DType::f8_row, size);
    }
  return all;
}

struct Dot {
  double sum = 0, size = 0;  // the products; what an error is measured against
};

// With block weights activations may be rounded, 256 at most with one scale: their largest then
// counts for all of them.
Dot dot(const HostTensor& x, int64_t t, const HostTensor& w, int64_t n) {
  Dot d;
  const int64_t span = is_block_format(w.type.dtype) ? 256 : 1;
  for (int64_t begin = 0; begin < x.width(); begin += span) {
    double largest = 0, weights = 0;
    for (int64_t i = begin; i < std::min(begin + span, x.width()); ++i) {
      d.sum += x.at(t, i) * w.at(n, i);
      largest = std::max(largest, std::fabs(x.at(t, i)));
      weights += std::fabs(w.at(n, i));
    }
    d.size += largest * weights;
  }
  return d;
}

std::vector<HostTensor> linear(const OpSignature& s, const std::vector<HostTensor>& in,
                               const TestStep& step, HostKv&) {
  const LinearAttrs a = LinearAttrs::from(s.attrs);
  const std::string kind(name(a.activation));
  HostTensor y = zeros(s.outputs[0], step.context.tokens, step.context.logit_rows);
  y.magnitude.resize(y.values.size());
  for (int64_t t = 0; t < y.rows(); ++t)
    for (int64_t n = 0; n < y.width(); ++n) {
      Dot d = dot(in[0], t, in[1], n);
      if (a.has_bias) d.sum += in[2].at(0, n), d.size += std::fabs(in[2].at(0, n));
      double v = activate_double(kind, d.sum);
      if (a.has_residual) v += in.back().at(t, n), d.size += std::fabs(in.back().at(t, n));
      y.values[static_cast<size_t>(t * y.width() + n)] = v;
      y.magnitude[static_cast<size_t>(t * y.width() + n)] = d.size;
    }
  return {y};
}

std::vector<HostTensor> linear_glu(const OpSignature& s, const std::vector<HostTensor>& in,
                                   const TestStep& step, HostKv&) {
  const LinearAttrs attrs = LinearAttrs::from(s.attrs);
  const std::string kind(name(attrs.activation));
  HostTensor y = zeros(s.outputs[0], step.context.tokens, step.context.logit_rows);
  y.magnitude.resize(y.values.size());
  for (int64_t t = 0; t < y.rows(); ++t)
    for (int64_t n = 0; n < y.width(); ++n) {
      Dot a = dot(in[0], t, in[1], n), b = dot(in[0], t, in[2], n);
      if (attrs.has_bias) a.sum += in[3].at(0, n), b.sum += in[4].at(0, n);
      const double gate = activate_double(kind, a.sum);
      y.values[static_cast<size_t>(t * y.width() + n)] = gate * b.sum;
      // The error of one factor times the size of the other.
      y.magnitude[static_cast<size_t>(t * y.width() + n)] =
          1.2 * a.size * std::fabs(b.sum) + std::fabs(gate) * b.size + a.size * b.size * 0.02;
    }
  return {y};
}

// Activations that are quantized to 8 bits have no infinity; and a gate that float32 rounds to 0,
// times infinity, is NaN where the exact product is infinite.
bool nonfinite(const OpSignature& s) {
  return s.op == Op::linear && !is_block_format(s.inputs[1].dtype);
}

}  // namespace

void add_linear_rows(std::vector<OpRow>& table) {
  table.push_back({Op::linear, signatures<Op::linear>, linear, nonfinite});
  table.push_back({Op::linear_glu, signatures<Op::linear_glu>, linear_glu, nonfinite});
}

}  // namespace tokamak::test
