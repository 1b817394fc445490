// Norms, reduce, softmax.
#include <algorithm>
#include <cmath>
#include <limits>

#include "op_table.h"

namespace tokamak::test {
namespace {

// Sums carry an error relative to the largest element of their row.
void set_row_magnitudes(HostTensor& y) {
  for (int64_t r = 0; r < y.rows(); ++r) {
    double largest = 0;
    for (int64_t c = 0; c < y.width(); ++c)
      if (std::isfinite(y.at(r, c))) largest = std::max(largest, std::fabs(y.at(r, c)));
    for (int64_t c = 0; c < y.width(); ++c) y.magnitude.push_back(largest);
  }
}

bool adds(Op op) { return op == Op::add_rms_norm || op == Op::add_layer_norm; }
bool centers(Op op) { return op == Op::layer_norm || op == Op::add_layer_norm; }

template <Op op>
std::vector<OpSignature> norm_signatures() {
  std::vector<OpSignature> all;
  const auto add = [&](DType t, DType weight, int64_t n, bool bias) {
    const ValueType x{t, {Symbol::tokens, n}}, w{weight, {n}, true};
    std::vector<ValueType> in = {x};
    if (adds(op)) in.push_back(x);
    in.push_back(w);
    if (bias) in.push_back(w);
    all.push_back(make_signature(op, Attrs().set("eps", 1e-5), in));
  };
  for (const int64_t n : kOddSizes) add(DType::f32, DType::f32, n, centers(op) && n % 3 == 0);
  for (const DType t : kActivationTypes)
    for (const DType w : kActivationTypes)
      for (const int64_t n : {63, 72, 520}) add(t, w, n, centers(op));
  // More elements than a block of threads takes at once.
  for (const int64_t n : {4104, 8200, 16392}) add(DType::bf16, DType::bf16, n, centers(op));
  if (!adds(op)) return all;
  // Sums in float32.
  for (const DType t : {DType::f16, DType::bf16})
    for (const int64_t n : {63, 520}) {
      add(t, DType::f32, n, centers(op));
      std::vector<ValueType> in = all.back().inputs;
      in[1].dtype = DType::f32;
      all.back() = make_signature(op, all.back().attrs, in);
    }
  return all;
}

std::vector<HostTensor> norm(const OpSignature& s, const std::vector<HostTensor>& in,
                             const TestStep& step, HostKv&) {
  const size_t weight = adds(s.op) ? 2 : 1;
  HostTensor y = zeros(s.outputs[0], step.context.tokens, step.context.logit_rows);
  HostTensor sum = zeros(s.outputs.back(), step.context.tokens, step.context.logit_rows);
  for (size_t i = 0; i < sum.values.size(); ++i)
    sum.values[i] = adds(s.op) ? round_to(s.outputs[1].dtype, in[0].values[i] + in[1].values[i])
                               : in[0].values[i];
  const int64_t n = y.width();
  for (int64_t r = 0; r < y.rows(); ++r) {
    double mean = 0, square = 0;
    for (int64_t c = 0; c < n && centers(s.op); ++c) mean += sum.at(r, c) / double(n);
    for (int64_t c = 0; c < n; ++c) square += std::pow(sum.at(r, c) - mean, 2) / double(n);
    for (int64_t c = 0; c < n; ++c) {
      double v = (sum.at(r, c) - mean) / std::sqrt(square + s.attrs.get<double>("eps"));
      v *= in[weight].at(0, c);
      if (in.size() > weight + 1) v += in[weight + 1].at(0, c);
      y.values[static_cast<size_t>(r * n + c)] = v;
    }
  }
  set_row_magnitudes(y);
  if (!adds(s.op)) return {y};
  for (size_t i = 0; i < sum.values.size(); ++i)
    sum.magnitude.push_back(std::fabs(in[0].values[i]) + std::fabs(in[1].values[i]));
  return {y, sum};
}

std::vector<OpSignature> reduce_signatures() {
  std::vector<OpSignature> all;
  for (const char* kind : {"sum", "mean", "max"}) {
    const Attrs a = Attrs().set("kind", kind);
    for (const int64_t n : kOddSizes)
      all.push_back(make_signature(Op::reduce, a, {{DType::f32, {Symbol::tokens, n}}}));
    for (const DType t : kActivationTypes)
      all.push_back(make_signature(Op::reduce, a, {{t, {Symbol::tokens, 3, 31}}}));
  }
  return all;
}

std::vector<HostTensor> reduce(const OpSignature& s, const std::vector<HostTensor>& in,
                               const TestStep& step, HostKv&) {
  const std::string kind = s.attrs.get<std::string>("kind");
  HostTensor y = zeros(s.outputs[0], step.context.tokens, step.context.logit_rows);
  for (int64_t r = 0; r < y.rows(); ++r) {
    double v = kind == "max" ? -std::numeric_limits<double>::infinity() : 0, size = 0;
    for (int64_t c = 0; c < in[0].width(); ++c) {
      const double x = in[0].at(r, c);
      if (kind != "max")
        v += x;
      else if (std::isnan(x) || std::isnan(v))
        v = std::numeric_limits<double>::quiet_NaN();
      else
        v = std::max(v, x);
      size += std::fabs(x);
    }
    const double n = kind == "mean" ? double(in[0].width()) : 1;
    y.values[static_cast<size_t>(r)] = v / n;
    y.magnitude.push_back(kind == "max" ? std::fabs(v) : size / n);
  }
  return {y};
}

std::vector<OpSignature> softmax_signatures() {
  std::vector<OpSignature> all;
  for (const int64_t n : kOddSizes)
    all.push_back(make_signature(Op::softmax, {}, {{DType::f32, {Symbol::tokens, n}}}));
  for (const DType t : kActivationTypes)
    for (const int64_t n : {31, 72, 4104})
      all.push_back(make_signature(Op::softmax, {}, {{t, {Symbol::sequences, 3, n}}}));
  return all;
}

std::vector<HostTensor> softmax(const OpSignature& s, const std::vector<HostTensor>& in,
                                const TestStep& step, HostKv&) {
  HostTensor y = zeros(s.outputs[0], step.context.tokens, step.context.logit_rows);
  const int64_t n = y.width();
  for (int64_t r = 0; r < y.rows(); ++r) {
    double largest = -std::numeric_limits<double>::infinity(), sum = 0;
    for (int64_t c = 0; c < n; ++c) largest = std::max(largest, in[0].at(r, c));
    for (int64_t c = 0; c < n; ++c) sum += std::exp(in[0].at(r, c) - largest);
    for (int64_t c = 0; c < n; ++c)
      y.values[static_cast<size_t>(r * n + c)] = std::exp(in[0].at(r, c) - largest) / sum;
  }
  set_row_magnitudes(y);
  return {y};
}

}  // namespace

void add_row_wise_rows(std::vector<OpRow>& table) {
  table.push_back({Op::rms_norm, norm_signatures<Op::rms_norm>, norm});
  table.push_back({Op::add_rms_norm, norm_signatures<Op::add_rms_norm>, norm});
  table.push_back({Op::layer_norm, norm_signatures<Op::layer_norm>, norm});
  table.push_back({Op::add_layer_norm, norm_signatures<Op::add_layer_norm>, norm});
  table.push_back({Op::reduce, reduce_signatures, reduce});
  table.push_back({Op::softmax, softmax_signatures, softmax});
}

}  // namespace tokamak::test
