// constant, unary, binary with broadcasting, cast, softcap and glu.
#include <array>
#include <cmath>

#include "backend/cpu/reference/activate.h"
#include "backend/cpu/reference/reference.h"
#include "backend/cpu/reference/rows.h"

namespace tokamak {
namespace {

using UnaryFn = double (*)(double);

UnaryFn unary_fn(const std::string& kind) {
  struct Entry {
    const char* kind;
    UnaryFn fn;
  };
  static constexpr Entry kEntries[] = {
      {"neg", [](double x) { return -x; }},
      {"abs", [](double x) { return std::fabs(x); }},
      {"exp", [](double x) { return std::exp(x); }},
      {"log", [](double x) { return std::log(x); }},
      {"sqrt", [](double x) { return std::sqrt(x); }},
      {"rsqrt", [](double x) { return 1 / std::sqrt(x); }},
      {"square", [](double x) { return x * x; }},
      {"tanh", [](double x) { return std::tanh(x); }},
      {"erf", [](double x) { return std::erf(x); }},
      {"sigmoid", sigmoid_ref},
      {"silu", [](double x) { return activate(Activation::silu, x); }},
      {"gelu", gelu_ref},
      {"gelu_tanh", gelu_tanh_ref},
      {"relu", relu_ref},
  };
  for (const Entry& e : kEntries)
    if (kind == e.kind) return e.fn;
  fail("unary: the CPU backend knows no kind '{}'", kind);
}

using BinaryFn = double (*)(double, double);

// max and min hand on a NaN of either side.
BinaryFn binary_fn(const std::string& kind) {
  struct Entry {
    const char* kind;
    BinaryFn fn;
  };
  static constexpr Entry kEntries[] = {
      {"add", [](double a, double b) { return a + b; }},
      {"sub", [](double a, double b) { return a - b; }},
      {"mul", [](double a, double b) { return a * b; }},
      {"div", [](double a, double b) { return a / b; }},
      {"pow", [](double a, double b) { return std::pow(a, b); }},
      {"max", [](double a, double b) { return a > b || std::isnan(a) ? a : b; }},
      {"min", [](double a, double b) { return a < b || std::isnan(a) ? a : b; }},
  };
  for (const Entry& e : kEntries)
    if (kind == e.kind) return e.fn;
  fail("binary: the CPU backend knows no kind '{}'", kind);
}

class ConstantKernel final : public Kernel {
 public:
  explicit ConstantKernel(const OpSignature& s) : value_(s.attrs.get<double>("value")) {}
  void launch(const LaunchArgs& args, ExecContext& exec) const override {
    if (static_cast<CpuExec&>(exec).worker == 0)
      store_element(DType::f32, args.out[0].data, 0, value_);
  }

 private:
  const double value_;
};

// y = f(x) for unary, softcap and cast.
class MapKernel final : public Kernel {
 public:
  explicit MapKernel(const OpSignature& s) : s_(s) {
    if (s.op == Op::unary) fn_ = unary_fn(s.attrs.get<std::string>("kind"));
    if (s.op == Op::softcap) cap_ = s.attrs.get<double>("cap");
  }
  void launch(const LaunchArgs& args, ExecContext& exec) const override {
    const auto& e = static_cast<CpuExec&>(exec);
    const Rows x = rows_view(s_.inputs[0], args.in[0]), y = rows_view(s_.outputs[0], args.out[0]);
    const int64_t n = row_count(s_.outputs[0], *args.step) * y.width;
    const WorkRange mine = share(n, e.worker, e.workers, 64);
    for (int64_t i = mine.begin; i < mine.end; ++i)
      y.set(i / y.width, i % y.width, apply(x.get(i / y.width, i % y.width)));
  }

 private:
  double apply(double v) const {
    if (fn_ != nullptr) return fn_(v);
    return cap_ > 0 ? cap_ * std::tanh(v / cap_) : v;
  }
  const OpSignature s_;
  UnaryFn fn_ = nullptr;
  double cap_ = 0;
};

class BinaryKernel final : public Kernel {
 public:
  explicit BinaryKernel(const OpSignature& s)
      : s_(s), fn_(binary_fn(s.attrs.get<std::string>("kind"))) {}
  void launch(const LaunchArgs& args, ExecContext& exec) const override {
    const auto& e = static_cast<CpuExec&>(exec);
    const Rows a = rows_view(s_.inputs[0], args.in[0]), b = rows_view(s_.inputs[1], args.in[1]);
    const Rows y = rows_view(s_.outputs[0], args.out[0]);
    const WorkRange mine = share(row_count(s_.outputs[0], *args.step), e.worker, e.workers);
    for (int64_t r = mine.begin; r < mine.end; ++r) {
      const int64_t ra = broadcast_row(s_.inputs[0].shape, s_.outputs[0].shape, r, *args.step);
      const int64_t rb = broadcast_row(s_.inputs[1].shape, s_.outputs[0].shape, r, *args.step);
      for (int64_t i = 0; i < y.width; ++i)
        y.set(r, i, fn_(a.get(ra, a.width == 1 ? 0 : i), b.get(rb, b.width == 1 ? 0 : i)));
    }
  }

 private:
  const OpSignature s_;
  const BinaryFn fn_;
};

class GluKernel final : public Kernel {
 public:
  explicit GluKernel(const OpSignature& s)
      : s_(s), activation_(parse_activation(s.attrs.get<std::string>("activation"))) {}
  void launch(const LaunchArgs& args, ExecContext& exec) const override {
    const auto& e = static_cast<CpuExec&>(exec);
    const Rows a = rows_view(s_.inputs[0], args.in[0]), b = rows_view(s_.inputs[1], args.in[1]);
    const Rows y = rows_view(s_.outputs[0], args.out[0]);
    const WorkRange mine =
        share(row_count(s_.outputs[0], *args.step) * y.width, e.worker, e.workers, 64);
    for (int64_t i = mine.begin; i < mine.end; ++i) {
      const int64_t r = i / y.width, c = i % y.width;
      y.set(r, c, activate(activation_, a.get(r, c)) * b.get(r, c));
    }
  }

 private:
  const OpSignature s_;
  const Activation activation_;
};

bool fits(const OpSignature& s) {
  for (const ValueType& t : s.inputs)
    if (!is_scalar_dtype(t.dtype) || !(t.shape.empty() || t.shape.back().fixed())) return false;
  return is_scalar_dtype(s.outputs[0].dtype);
}

template <typename K>
std::unique_ptr<Kernel> bind(const OpSignature& s) {
  return std::make_unique<K>(s);
}

}  // namespace

void add_reference_elementwise(CpuRegistry& r) {
  r.add_simple("constant.reference", Op::constant, Isa::reference, fits, bind<ConstantKernel>);
  r.add_simple("unary.reference", Op::unary, Isa::reference, fits, bind<MapKernel>);
  r.add_simple("cast.reference", Op::cast, Isa::reference, fits, bind<MapKernel>);
  r.add_simple("softcap.reference", Op::softcap, Isa::reference, fits, bind<MapKernel>);
  r.add_simple("binary.reference", Op::binary, Isa::reference, fits, bind<BinaryKernel>);
  r.add_simple("glu.reference", Op::glu, Isa::reference, fits, bind<GluKernel>);
}

}  // namespace tokamak
