// reduce and softmax: over the last dimension.
#include <cmath>
#include <limits>

#include "backend/cpu/reference/reference.h"
#include "backend/cpu/reference/rows.h"

namespace tokamak {
namespace {

double row_max(const Rows& x, int64_t r) {
  double best = -std::numeric_limits<double>::infinity();
  for (int64_t i = 0; i < x.width; ++i) {
    const double v = x.get(r, i);
    if (v > best || std::isnan(v)) best = v;
    if (std::isnan(best)) break;
  }
  return best;
}

class ReduceKernel final : public Kernel {
 public:
  explicit ReduceKernel(const OpSignature& s)
      : s_(s),
        max_(s.attrs.get<std::string>("kind") == "max"),
        mean_(s.attrs.get<std::string>("kind") == "mean") {}
  void launch(const LaunchArgs& args, ExecContext& exec) const override {
    const auto& e = static_cast<CpuExec&>(exec);
    const Rows x = rows_view(s_.inputs[0], args.in[0]), y = rows_view(s_.outputs[0], args.out[0]);
    const WorkRange mine = share(row_count(s_.inputs[0], *args.step), e.worker, e.workers);
    for (int64_t r = mine.begin; r < mine.end; ++r) y.set(r, 0, max_ ? row_max(x, r) : sum(x, r));
  }

 private:
  double sum(const Rows& x, int64_t r) const {
    double s = 0;
    for (int64_t i = 0; i < x.width; ++i) s += x.get(r, i);
    return mean_ ? s / static_cast<double>(x.width) : s;
  }
  const OpSignature s_;
  const bool max_, mean_;
};

class SoftmaxKernel final : public Kernel {
 public:
  explicit SoftmaxKernel(const OpSignature& s) : s_(s) {}
  void launch(const LaunchArgs& args, ExecContext& exec) const override {
    const auto& e = static_cast<CpuExec&>(exec);
    const Rows x = rows_view(s_.inputs[0], args.in[0]), y = rows_view(s_.outputs[0], args.out[0]);
    const WorkRange mine = share(row_count(s_.inputs[0], *args.step), e.worker, e.workers);
    for (int64_t r = mine.begin; r < mine.end; ++r) {
      const double max = row_max(x, r);
      double sum = 0;
      for (int64_t i = 0; i < x.width; ++i) sum += std::exp(x.get(r, i) - max);
      for (int64_t i = 0; i < x.width; ++i) y.set(r, i, std::exp(x.get(r, i) - max) / sum);
    }
  }

 private:
  const OpSignature s_;
};

bool fits(const OpSignature& s) { return is_activation_dtype(s.inputs[0].dtype); }

}  // namespace

void add_reference_rowwise(CpuRegistry& r) {
  r.add_simple("reduce.reference", Op::reduce, Isa::reference, fits,
               [](const OpSignature& s) -> std::unique_ptr<Kernel> {
                 return std::make_unique<ReduceKernel>(s);
               });
  r.add_simple("softmax.reference", Op::softmax, Isa::reference, fits,
               [](const OpSignature& s) -> std::unique_ptr<Kernel> {
                 return std::make_unique<SoftmaxKernel>(s);
               });
}

}  // namespace tokamak
