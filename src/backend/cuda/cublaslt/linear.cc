#include "backend/cuda/cublaslt/linear.h"

#include "backend/cuda/cublaslt/matmul.h"
#include "backend/cuda/kernels/vectors.h"
#include "backend/cuda/map_kind.h"
#include "base/log.h"
#include "ops/linear.h"

namespace tokamak {
namespace {

constexpr int kChoices = 3;

class CublasLtLinear final : public Kernel {
 public:
  CublasLtLinear(const std::shared_ptr<const CublasLt>& lt, const OpSignature& s, int choice)
      : s_(s),
        attrs_(LinearAttrs::from(s.attrs)),
        glu_(s.op == Op::linear_glu),
        activation_(map_kind(attrs_.activation)),
        matmul_(lt, {s.inputs[1].shape[0].size, s.inputs[1].shape[1].size, s.inputs[0].dtype,
                     s.inputs[1].dtype, s.outputs[0].dtype, attrs_.has_bias, choice}) {}

  void launch(const LaunchArgs& args, ExecContext& exec) const override {
    const cudaStream_t stream = static_cast<CudaExec&>(exec).stream;
    const cuda::RowsArg y = rows_arg(s_.outputs[0], args.out[0], *args.step);
    const size_t weights = glu_ ? 2 : 1;
    MatmulOperands o;
    o.x = args.in[0].data;
    o.x_stride = args.in[0].row_stride;
    o.tokens = y.rows;
    o.workspace = args.workspace;
    cuda::RowsArg part = y;  // of linear_glu: the first product lies behind cuBLAS's workspace
    if (glu_) {
      part.data = args.workspace + kMatmulWorkspace;
      part.stride = part.width;
    }
    for (size_t w = 0; w < weights; ++w) {
      const cuda::RowsArg& to = w + 1 < weights ? part : y;
      o.weight = args.in[1 + w].data;
      if (attrs_.has_bias) o.bias = args.in[1 + weights + w].data;
      if (attrs_.has_residual) {
        o.c = args.in.back().data;
        o.c_stride = args.in.back().row_stride;
      }
      o.y = to.data;
      o.y_stride = to.stride;
      matmul_.run(o, stream);
    }
    if (glu_)
      cuda::glu_vectors(activation_, part, y, y, stream);
    else if (activation_ != cuda::MapKind::copy)
      cuda::map_vectors(activation_, 0, y, y, stream);
  }

 private:
  const OpSignature s_;
  const LinearAttrs attrs_;
  const bool glu_;
  const cuda::MapKind activation_;
  const Matmul matmul_;
};

class CublasLtTactic final : public CudaTactic {
 public:
  CublasLtTactic(Op op, const CudaTarget& target, std::shared_ptr<const CublasLt> lt, int choice)
      : CudaTactic(std::string(tokamak::name(op)) + ".cublaslt." + std::to_string(choice), op, 80,
                   target),
        lt_(std::move(lt)),
        choice_(choice) {}

  size_t workspace_bytes(const OpSignature& s, int64_t tokens) const override {
    if (op() == Op::linear) return kMatmulWorkspace;
    return kMatmulWorkspace + bytes_of(s.outputs[0].dtype, tokens * cuda_width(s.outputs[0]));
  }
  double estimate_us(const OpSignature& s, int64_t tokens) const override {
    const OpCost c = cost(s, tokens, tokens, 0);
    const double rate =
        s.inputs[1].dtype == DType::f32 ? target_.f32_gflop_s : target_.half_gflop_s;
    return 4 + 0.1 * choice_ + std::max(c.bytes / (0.8 * target_.read_gb_s), c.flops / rate) * 1e-3;
  }
  std::unique_ptr<Kernel> bind(const OpSignature& s) const override {
    if (!lt_) fail("cuBLASLt is not there: '{}' cannot run", name());
    return std::make_unique<CublasLtLinear>(lt_, s, choice_);
  }

 protected:
  // An activation may not come between the product and the residual.
  bool fits(const OpSignature& s) const override {
    const ValueType &x = s.inputs[0], &w = s.inputs[1], &y = s.outputs[0];
    const LinearAttrs a = LinearAttrs::from(s.attrs);
    if (a.deterministic || !is_cuda_activation(w.dtype) || x.dtype != w.dtype) return false;
    if (y.dtype != x.dtype && y.dtype != DType::f32) return false;
    if (w.shape[1].size % 8 != 0 || w.shape[0].size % 8 != 0) return false;
    const size_t weights = op() == Op::linear_glu ? 2 : 1;
    if (weights == 2 && s.inputs[2] != w) return false;
    if (a.has_bias)
      for (size_t i = 0; i < weights; ++i)
        if (s.inputs[1 + weights + i].dtype != y.dtype) return false;
    return !a.has_residual ||
           (s.inputs.back().dtype == y.dtype && a.activation == Activation::none);
  }

 private:
  const std::shared_ptr<const CublasLt> lt_;
  const int choice_;
};

}  // namespace

void add_cublaslt_linear(CudaRegistry& r) {
  std::string why;
  const auto lt = r.offline ? nullptr : CublasLt::load(&why);
  if (!lt && !r.offline) {
    log::warning("cuBLASLt is not there ({}): other tactics are used", why);
    return;
  }
  for (const Op op : {Op::linear, Op::linear_glu})
    for (int choice = kChoices - 1; choice >= 0; --choice)
      r.add<CublasLtTactic>(op, r.target, lt, choice);
}

}  // namespace tokamak
