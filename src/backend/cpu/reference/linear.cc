// linear and linear_glu: a weight row is widened to float32 once and then meets every token.
#include "ops/linear.h"
#include "backend/cpu/reference/activate.h"
#include "backend/cpu/reference/reference.h"
#include "backend/cpu/reference/rows.h"

namespace tokamak {
namespace {

// Four partial sums, so that long rows lose no digits and the loop is not one chain of additions.
double dot(const Rows& x, int64_t token, const float* w) {
  double sum[4] = {};
  int64_t i = 0;
  if (x.dtype == DType::f32) {
    const auto* xs = reinterpret_cast<const float*>(x.row(token));
    for (; i + 4 <= x.width; i += 4)
      for (int j = 0; j < 4; ++j) sum[j] += double(xs[i + j]) * double(w[i + j]);
  }
  for (; i < x.width; ++i) sum[i & 3] += x.get(token, i) * double(w[i]);
  return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

const std::byte* weight_row(const ValueType& t, const Operand& o, int64_t n) {
  return o.data + n * static_cast<int64_t>(row_bytes(t.dtype, width_of(t)));
}

class LinearKernel final : public Kernel {
 public:
  explicit LinearKernel(const OpSignature& s) : s_(s), attrs_(LinearAttrs::from(s.attrs)) {}

  void launch(const LaunchArgs& args, ExecContext& exec) const override {
    const auto& e = static_cast<CpuExec&>(exec);
    const Rows x = rows_view(s_.inputs[0], args.in[0]), y = rows_view(s_.outputs[0], args.out[0]);
    float* w = reinterpret_cast<float*>(args.workspace) + e.worker * x.width;
    const int64_t tokens = row_count(s_.inputs[0], *args.step);
    const WorkRange mine = share(y.width, e.worker, e.workers);
    for (int64_t n = mine.begin; n < mine.end; ++n) {
      load_row(s_.inputs[1].dtype, weight_row(s_.inputs[1], args.in[1], n), x.width, w);
      const double bias = attrs_.has_bias ? rows_view(s_.inputs[2], args.in[2]).get(0, n) : 0;
      for (int64_t t = 0; t < tokens; ++t) {
        double v = activate(attrs_.activation, dot(x, t, w) + bias);
        if (attrs_.has_residual) v += rows_view(s_.inputs.back(), args.in.back()).get(t, n);
        y.set(t, n, v);
      }
    }
  }

 private:
  const OpSignature s_;
  const LinearAttrs attrs_;
};

class LinearGluKernel final : public Kernel {
 public:
  explicit LinearGluKernel(const OpSignature& s) : s_(s), attrs_(LinearAttrs::from(s.attrs)) {}

  void launch(const LaunchArgs& args, ExecContext& exec) const override {
    const auto& e = static_cast<CpuExec&>(exec);
    const Rows x = rows_view(s_.inputs[0], args.in[0]), y = rows_view(s_.outputs[0], args.out[0]);
    float* wa = reinterpret_cast<float*>(args.workspace) + 2 * e.worker * x.width;
    float* wb = wa + x.width;
    const int64_t tokens = row_count(s_.inputs[0], *args.step);
    const WorkRange mine = share(y.width, e.worker, e.workers);
    for (int64_t n = mine.begin; n < mine.end; ++n) {
      load_row(s_.inputs[1].dtype, weight_row(s_.inputs[1], args.in[1], n), x.width, wa);
      load_row(s_.inputs[2].dtype, weight_row(s_.inputs[2], args.in[2], n), x.width, wb);
      double bias_a = 0, bias_b = 0;
      if (attrs_.has_bias) {
        bias_a = rows_view(s_.inputs[3], args.in[3]).get(0, n);
        bias_b = rows_view(s_.inputs[4], args.in[4]).get(0, n);
      }
      for (int64_t t = 0; t < tokens; ++t)
        y.set(t, n, activate(attrs_.activation, dot(x, t, wa) + bias_a) * (dot(x, t, wb) + bias_b));
    }
  }

 private:
  const OpSignature s_;
  const LinearAttrs attrs_;
};

bool plain_activations(const OpSignature& s) {
  for (const ValueType& t : s.inputs)
    if (!(t.is_weight && t.shape.size() == 2) && !is_activation_dtype(t.dtype)) return false;
  return is_activation_dtype(s.outputs[0].dtype);
}

// Scratch: one widened weight row a worker for each weight.
template <typename K>
class LinearTactic final : public CpuTactic {
 public:
  LinearTactic(std::string name, Op op, const CpuTarget& target)
      : CpuTactic(std::move(name), op, Isa::reference, target) {}
  size_t workspace_bytes(const OpSignature& s, int64_t) const override {
    const size_t weights = op() == Op::linear_glu ? 2 : 1;
    return weights * static_cast<size_t>(target_.workers * width_of(s.inputs[0])) * sizeof(float);
  }
  std::unique_ptr<Kernel> bind(const OpSignature& s) const override {
    return std::make_unique<K>(s);
  }

 protected:
  bool fits(const OpSignature& s) const override { return plain_activations(s); }
};

}  // namespace

void add_reference_linear(CpuRegistry& r) {
  r.add<LinearTactic<LinearKernel>>("linear.reference", Op::linear, r.target);
  r.add<LinearTactic<LinearGluKernel>>("linear_glu.reference", Op::linear_glu, r.target);
}

}  // namespace tokamak
