// The four norms: x / rms(x) or (x - mean) / deviation, times weight, plus bias; the add_ forms
// first add the residual and also return that sum.
#include <cmath>

#include "backend/cpu/reference/reference.h"
#include "backend/cpu/reference/rows.h"

namespace tokamak {
namespace {

class NormKernel final : public Kernel {
 public:
  explicit NormKernel(const OpSignature& s)
      : s_(s),
        adds_(s.op == Op::add_rms_norm || s.op == Op::add_layer_norm),
        centers_(s.op == Op::layer_norm || s.op == Op::add_layer_norm),
        weight_(adds_ ? 2 : 1),
        has_bias_(s.inputs.size() > weight_ + 1),
        eps_(s.attrs.get<double>("eps")) {}

  void launch(const LaunchArgs& args, ExecContext& exec) const override {
    const auto& e = static_cast<CpuExec&>(exec);
    const WorkRange mine = share(row_count(s_.inputs[0], *args.step), e.worker, e.workers);
    for (int64_t r = mine.begin; r < mine.end; ++r) {
      // The sum may be stored over the residual: everything else is read before.
      if (adds_) add_row(args, r);
      const size_t from = adds_ ? 1 : 0;
      const Rows x =
          adds_ ? rows_view(s_.outputs[from], args.out[from]) : rows_view(s_.inputs[0], args.in[0]);
      normalize_row(x, args, r);
    }
  }

 private:
  void add_row(const LaunchArgs& args, int64_t r) const {
    const Rows x = rows_view(s_.inputs[0], args.in[0]);
    const Rows residual = rows_view(s_.inputs[1], args.in[1]);
    const Rows sum = rows_view(s_.outputs[1], args.out[1]);
    for (int64_t i = 0; i < x.width; ++i) sum.set(r, i, x.get(r, i) + residual.get(r, i));
  }

  void normalize_row(const Rows& x, const LaunchArgs& args, int64_t r) const {
    const Rows weight = rows_view(s_.inputs[weight_], args.in[weight_]);
    const Rows y = rows_view(s_.outputs[0], args.out[0]);
    const double n = static_cast<double>(x.width);
    double mean = 0, square = 0;
    for (int64_t i = 0; centers_ && i < x.width; ++i) mean += x.get(r, i) / n;
    for (int64_t i = 0; i < x.width; ++i) {
      const double d = x.get(r, i) - mean;
      square += d * d;
    }
    const double scale = 1 / std::sqrt(square / n + eps_);
    for (int64_t i = 0; i < x.width; ++i) {
      const double bias =
          has_bias_ ? rows_view(s_.inputs[weight_ + 1], args.in[weight_ + 1]).get(0, i) : 0;
      y.set(r, i, (x.get(r, i) - mean) * scale * weight.get(0, i) + bias);
    }
  }

  const OpSignature s_;
  const bool adds_, centers_;
  const size_t weight_;
  const bool has_bias_;
  const double eps_;
};

bool fits(const OpSignature& s) {
  for (const ValueType& t : s.inputs)
    if (!is_activation_dtype(t.dtype)) return false;
  return true;
}

std::unique_ptr<Kernel> bind(const OpSignature& s) { return std::make_unique<NormKernel>(s); }

}  // namespace

void add_reference_norm(CpuRegistry& r) {
  for (const Op op : {Op::rms_norm, Op::add_rms_norm, Op::layer_norm, Op::add_layer_norm})
    r.add_simple(std::string(name(op)) + ".reference", op, Isa::reference, fits, bind);
}

}  // namespace tokamak
