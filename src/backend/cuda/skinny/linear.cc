#include "backend/cuda/skinny/linear.h"

#include "backend/cuda/bound_linear.h"
#include "backend/cuda/kernels/skinny.h"

namespace tokamak {
namespace {

class SkinnyLinear final : public Kernel {
 public:
  explicit SkinnyLinear(const OpSignature& s) : op_(s) {}
  void launch(const LaunchArgs& args, ExecContext& exec) const override {
    const cudaStream_t stream = static_cast<CudaExec&>(exec).stream;
    const cuda::RowsArg x = op_.x_in_vectors(args, args.workspace, stream);
    const cuda::FinishArg f = op_.finish(args);
    cuda::SkinnyArg a;
    a.x = x.data;
    a.x_stride = x.stride;
    a.w = args.in[1].data;
    if (op_.weights == 2) a.w_b = args.in[2].data;
    a.n = op_.n;
    a.k = op_.k;
    a.dtype = op_.s.inputs[1].dtype;
    a.bias = f.bias;
    a.bias_b = f.bias_b;
    a.residual = f.residual;
    a.y = f.y;
    a.tokens = f.y.rows;
    a.activation = f.activation;
    cuda::skinny_linear(a, stream);
  }

 private:
  const BoundLinear op_;
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
    if (!is_half(w.dtype)) return false;
    return x.dtype == w.dtype && w.shape[1].size % cuda::kSkinnyStep == 0 && are_linear_operands(s);
  }
};

}  // namespace

void add_skinny_linear(CudaRegistry& r) {
  for (const Op op : {Op::linear, Op::linear_glu}) r.add<SkinnyTactic>(op, r.target);
}

}  // namespace tokamak
