#include "backend/cuda/skinny/linear.h"

#include "backend/cuda/kernels/skinny.h"
#include "backend/cuda/map_kind.h"
#include "ops/linear.h"

namespace tokamak {
namespace {

class SkinnyLinear final : public Kernel {
 public:
  explicit SkinnyLinear(const OpSignature& s)
      : s_(s),
        attrs_(LinearAttrs::from(s.attrs)),
        weights_(s.op == Op::linear_glu ? 2 : 1),
        activation_(map_kind(attrs_.activation)) {}
  void launch(const LaunchArgs& args, ExecContext& exec) const override {
    const auto in = [&](size_t i) { return rows_arg(s_.inputs[i], args.in[i], *args.step); };
    const cudaStream_t stream = static_cast<CudaExec&>(exec).stream;
    cuda::RowsArg x = in(0);
    if (reinterpret_cast<uintptr_t>(x.data) % 16 != 0 || x.stride % 8 != 0) {
      cuda::RowsArg dense = x;
      dense.data = args.workspace;
      dense.stride = x.width;
      cuda::reshape(x, dense, 2, stream);
      x = dense;
    }
    cuda::SkinnyArg a;
    a.x = x.data;
    a.x_stride = x.stride;
    a.w = args.in[1].data;
    if (weights_ == 2) a.w_b = args.in[2].data;
    a.n = s_.inputs[1].shape[0].size;
    a.k = s_.inputs[1].shape[1].size;
    a.dtype = s_.inputs[1].dtype;
    if (attrs_.has_bias) a.bias = in(1 + weights_);
    if (attrs_.has_bias && weights_ == 2) a.bias_b = in(2 + weights_);
    if (attrs_.has_residual) a.residual = in(s_.inputs.size() - 1);
    a.y = rows_arg(s_.outputs[0], args.out[0], *args.step);
    a.tokens = a.y.rows;
    a.activation = activation_;
    cuda::skinny_linear(a, stream);
  }

 private:
  const OpSignature s_;
  const LinearAttrs attrs_;
  const size_t weights_;
  const cuda::MapKind activation_;
};

class SkinnyTactic final : public CudaTactic {
 public:
  SkinnyTactic(Op op, const CudaTarget& target)
      : CudaTactic(std::string(tokamak::name(op)) + ".skinny.mma", op, 80, target) {}
  // Room for activations whose rows are not aligned.
  size_t workspace_bytes(const OpSignature& s, int64_t tokens) const override {
    return bytes_of(s.inputs[0].dtype, tokens * cuda_width(s.inputs[0]));
  }
  // Every 64 tokens read the weights again, mostly from the second cache.
  double estimate_us(const OpSignature& s, int64_t tokens) const override {
    const OpCost c = cost(s, tokens, tokens, 0);
    const double passes = 1 + 0.3 * static_cast<double>((tokens - 1) / 64);
    return 5 +
           passes *
               std::max(c.bytes / (0.8 * target_.read_gb_s), 5.5 * c.flops / target_.half_gflop_s) *
               1e-3;
  }
  std::unique_ptr<Kernel> bind(const OpSignature& s) const override {
    return std::make_unique<SkinnyLinear>(s);
  }

 protected:
  bool fits(const OpSignature& s) const override {
    const ValueType &x = s.inputs[0], &w = s.inputs[1];
    if (target_.sm == 90 && w.shape[0].size % 8 == 0) return false;  // streaming is always faster
    if (w.dtype != DType::f16 && w.dtype != DType::bf16) return false;
    if (x.dtype != w.dtype || x.shape.size() != 2) return false;
    if (op() == Op::linear_glu && s.inputs[2] != w) return false;
    for (size_t i = 1; i < s.inputs.size(); ++i)
      if (!is_cuda_activation(s.inputs[i].dtype)) return false;
    return w.shape[1].size % cuda::kSkinnyStep == 0 && is_cuda_activation(s.outputs[0].dtype);
  }
};

}  // namespace

void add_skinny_linear(CudaRegistry& r) {
  for (const Op op : {Op::linear, Op::linear_glu}) r.add<SkinnyTactic>(op, r.target);
}

}  // namespace tokamak
