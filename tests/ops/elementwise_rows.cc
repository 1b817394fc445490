// unary, binary, cast, softcap, glu, constant
#include <cmath>
#include <functional>
#include <numbers>

#include "op_table.h"

namespace tokamak::test {

double activate_double(const std::string& kind, double x) {
  const double logistic = 1 / (1 + std::exp(-x));
  if (kind == "none") return x;
  if (kind == "neg") return -x;
  if (kind == "abs") return std::fabs(x);
  if (kind == "exp") return std::exp(x);
  if (kind == "log") return std::log(x);
  if (kind == "sqrt") return std::sqrt(x);
  if (kind == "rsqrt") return 1 / std::sqrt(x);
  if (kind == "square") return x * x;
  if (kind == "tanh") return std::tanh(x);
  if (kind == "erf") return std::erf(x);
  if (kind == "sigmoid") return logistic;
  if (kind == "silu") return x * logistic;
  if (kind == "gelu") return x * 0.5 * std::erfc(-x / std::numbers::sqrt2);
  if (kind == "gelu_tanh")
    return 0.5 * x *
           (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * std::pow(x, 3))));
  if (kind == "relu") return std::isnan(x) ? x : std::max(x, 0.0);
  fail("no such activation in the tests: {}", kind);
}

namespace {

constexpr const char* kKinds[] = {"neg",  "abs", "exp",     "log",  "sqrt", "rsqrt",     "square",
                                  "tanh", "erf", "sigmoid", "silu", "gelu", "gelu_tanh", "relu"};

// gelu and silu fall to 0 as x times something tiny: an error counts against |x| there.
double activation_magnitude(double x, double y) { return std::max(std::fabs(x), std::fabs(y)); }

std::vector<OpSignature> unary_signatures() {
  std::vector<OpSignature> all;
  for (const char* kind : kKinds)
    for (const DType t : kActivationTypes)
      all.push_back(make_signature(Op::unary, Attrs().set("kind", kind),
                                   {{t, {Symbol::tokens, t == DType::f32 ? 65 : 33}}}));
  for (const int64_t n : kOddSizes)
    all.push_back(make_signature(Op::unary, Attrs().set("kind", "silu"),
                                 {{DType::f32, {Symbol::tokens, n}}}));
  for (const char* kind : {"silu", "gelu", "gelu_tanh", "tanh"})
    for (const DType t : kActivationTypes)
      all.push_back(
          make_signature(Op::unary, Attrs().set("kind", kind), {{t, {Symbol::tokens, 72}}}));
  all.push_back(make_signature(Op::unary, Attrs().set("kind", "gelu"),
                               {{DType::f32, {Symbol::tokens, 3, 17}}}));
  all.push_back(make_signature(Op::unary, Attrs().set("kind", "exp"), {{DType::f32, {}}}));
  return all;
}

std::vector<HostTensor> map(const OpSignature& s, const std::vector<HostTensor>& in,
                            const TestStep& step, double (*magnitude)(double, double),
                            const std::function<double(double)>& f) {
  HostTensor y = zeros(s.outputs[0], step.context.tokens, step.context.logit_rows);
  for (size_t i = 0; i < y.values.size(); ++i) {
    y.values[i] = f(in[0].values[i]);
    y.magnitude.push_back(magnitude(in[0].values[i], y.values[i]));
  }
  return {y};
}

std::vector<HostTensor> unary(const OpSignature& s, const std::vector<HostTensor>& in,
                              const TestStep& step, HostKv&) {
  const std::string kind = s.attrs.get<std::string>("kind");
  const bool shrinks = kind == "silu" || kind == "gelu" || kind == "gelu_tanh";
  return map(
      s, in, step, shrinks ? activation_magnitude : [](double, double y) { return std::fabs(y); },
      [&](double x) { return activate_double(kind, x); });
}

std::vector<OpSignature> softcap_signatures() {
  std::vector<OpSignature> all;
  for (const DType t : kActivationTypes)
    for (const double cap : {1.0, 30.0})
      for (const int64_t n : {67, 72})
        all.push_back(
            make_signature(Op::softcap, Attrs().set("cap", cap), {{t, {Symbol::sequences, n}}}));
  return all;
}

std::vector<HostTensor> softcap(const OpSignature& s, const std::vector<HostTensor>& in,
                                const TestStep& step, HostKv&) {
  const double cap = s.attrs.get<double>("cap");
  return map(
      s, in, step, [](double, double y) { return std::fabs(y); },
      [cap](double x) { return cap * std::tanh(x / cap); });
}

std::vector<OpSignature> cast_signatures() {
  std::vector<OpSignature> all;
  for (const DType from : kActivationTypes)
    for (const DType to : kActivationTypes)
      for (const int64_t n : {33, 72})
        all.push_back(make_signature(Op::cast, Attrs().set("dtype", std::string(name(to))),
                                     {{from, {Symbol::tokens, n}}}));
  all.push_back(
      make_signature(Op::cast, Attrs().set("dtype", "f32"), {{DType::i32, {Symbol::tokens, 5}}}));
  return all;
}

std::vector<HostTensor> cast(const OpSignature& s, const std::vector<HostTensor>& in,
                             const TestStep& step, HostKv&) {
  return map(
      s, in, step, [](double, double y) { return std::fabs(y); },
      [&](double x) { return round_to(s.outputs[0].dtype, x); });
}

std::vector<OpSignature> binary_signatures() {
  std::vector<OpSignature> all;
  const ValueType x{DType::f32, {Symbol::tokens, 65}};
  for (const char* kind : {"add", "sub", "mul", "div", "pow", "max", "min"}) {
    const Attrs a = Attrs().set("kind", kind);
    all.push_back(make_signature(Op::binary, a, {x, x}));
    all.push_back(make_signature(Op::binary, a, {x, {DType::f32, {65}, true}}));
    all.push_back(make_signature(Op::binary, a, {{DType::f32, {}}, x}));
    all.push_back(make_signature(Op::binary, a, {x, {DType::f32, {Symbol::tokens, 1}}}));
  }
  const Attrs add = Attrs().set("kind", "add"), mul = Attrs().set("kind", "mul");
  const ValueType cube{DType::f32, {Symbol::tokens, 3, 17}};
  all.push_back(make_signature(Op::binary, mul, {cube, {DType::f32, {3, 1}, true}}));
  all.push_back(make_signature(Op::binary, mul, {{DType::f32, {Symbol::tokens, 1, 17}}, cube}));
  for (const DType t : {DType::f16, DType::bf16}) {
    all.push_back(
        make_signature(Op::binary, add, {{t, {Symbol::tokens, 33}}, {t, {Symbol::tokens, 33}}}));
    all.push_back(
        make_signature(Op::binary, mul, {{DType::f32, {Symbol::tokens, 33}}, {t, {33}, true}}));
    const ValueType even{t, {Symbol::tokens, 72}}, even_cube{t, {Symbol::tokens, 3, 16}};
    for (const Attrs& a : {add, mul}) {
      all.push_back(make_signature(Op::binary, a, {even, even}));
      all.push_back(make_signature(Op::binary, a, {even, {DType::f32, {72}, true}}));
      all.push_back(make_signature(Op::binary, a, {{DType::f32, {}}, even}));
      all.push_back(make_signature(Op::binary, a, {even, {t, {Symbol::tokens, 1}}}));
      all.push_back(make_signature(Op::binary, a, {even_cube, {t, {3, 1}, true}}));
      all.push_back(make_signature(Op::binary, a, {even_cube, even_cube}));
    }
  }
  for (const int64_t n : kOddSizes)
    all.push_back(make_signature(
        Op::binary, add,
        {{DType::f32, {Symbol::sequences, n}}, {DType::f32, {Symbol::sequences, n}}}));
  return all;
}

}  // namespace

double combine(const std::string& kind, double a, double b) {
  if (kind == "add") return a + b;
  if (kind == "sub") return a - b;
  if (kind == "mul") return a * b;
  if (kind == "div") return a / b;
  if (kind == "pow") return std::pow(a, b);
  if (std::isnan(a) || std::isnan(b)) return a + b;
  return kind == "max" ? std::max(a, b) : std::min(a, b);
}

int64_t broadcast_index(const std::vector<int64_t>& from, const std::vector<int64_t>& to,
                        int64_t i) {
  int64_t index = 0, stride = 1;
  for (size_t back = 1; back <= to.size(); ++back) {
    const int64_t coordinate = i % to[to.size() - back];
    i /= to[to.size() - back];
    if (back > from.size()) continue;
    const int64_t size = from[from.size() - back];
    if (size != 1) index += coordinate * stride;
    stride *= size;
  }
  return index;
}

namespace {

std::vector<HostTensor> binary(const OpSignature& s, const std::vector<HostTensor>& in,
                               const TestStep& step, HostKv&) {
  const std::string kind = s.attrs.get<std::string>("kind");
  HostTensor y = zeros(s.outputs[0], step.context.tokens, step.context.logit_rows);
  for (size_t i = 0; i < y.values.size(); ++i) {
    const double a = in[0].values[static_cast<size_t>(
        broadcast_index(in[0].shape, y.shape, static_cast<int64_t>(i)))];
    const double b = in[1].values[static_cast<size_t>(
        broadcast_index(in[1].shape, y.shape, static_cast<int64_t>(i)))];
    y.values[i] = combine(kind, a, b);
    const bool sum = kind == "add" || kind == "sub";
    y.magnitude.push_back(sum ? std::fabs(a) + std::fabs(b) : std::fabs(y.values[i]));
  }
  return {y};
}

std::vector<OpSignature> glu_signatures() {
  std::vector<OpSignature> all;
  for (const char* kind : {"silu", "gelu", "gelu_tanh", "relu", "sigmoid", "tanh", "none"})
    for (const DType t : kActivationTypes) {
      for (const int64_t n : {t == DType::f32 ? 65 : 31, 72}) {
        const ValueType x{t, {Symbol::tokens, n}};
        all.push_back(make_signature(Op::glu, Attrs().set("activation", kind), {x, x}));
      }
    }
  return all;
}

std::vector<HostTensor> glu(const OpSignature& s, const std::vector<HostTensor>& in,
                            const TestStep& step, HostKv&) {
  const std::string kind = s.attrs.get<std::string>("activation");
  HostTensor y = zeros(s.outputs[0], step.context.tokens, step.context.logit_rows);
  for (size_t i = 0; i < y.values.size(); ++i) {
    const double a = activate_double(kind, in[0].values[i]), b = in[1].values[i];
    y.values[i] = a * b;
    y.magnitude.push_back(activation_magnitude(in[0].values[i], a) * std::fabs(b));
  }
  return {y};
}

std::vector<OpSignature> constant_signatures() {
  return {make_signature(Op::constant, Attrs().set("value", 0.3), {})};
}

std::vector<HostTensor> constant(const OpSignature& s, const std::vector<HostTensor>&,
                                 const TestStep&, HostKv&) {
  HostTensor y = zeros(s.outputs[0], 1, 1);
  y.values[0] = s.attrs.get<double>("value");
  return {y};
}

}  // namespace

void add_elementwise_rows(std::vector<OpRow>& table) {
  table.push_back({Op::unary, unary_signatures, unary});
  table.push_back({Op::binary, binary_signatures, binary});
  table.push_back({Op::cast, cast_signatures, cast});
  table.push_back({Op::softcap, softcap_signatures, softcap});
  table.push_back({Op::glu, glu_signatures, glu});
  table.push_back({Op::constant, constant_signatures, constant});
}

}  // namespace tokamak::test
