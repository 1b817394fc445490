#include "backend/cuda/fp8/linear.h"

#include <algorithm>

#include "backend/cuda/cublaslt/f8_matmul.h"
#include "backend/cuda/fp8/codes_linear.h"
#include "backend/cuda/fp8/layout.h"
#include "base/log.h"

namespace tokamak {
namespace {

class F8Linear final : public Kernel {
 public:
  F8Linear(const std::shared_ptr<const CublasLt>& lt, const OpSignature& s, bool fast)
      : op_(s), matmul_(lt, {op_.n, op_.k, s.outputs[0].dtype, fast}) {}

  void launch(const LaunchArgs& args, ExecContext& exec) const override {
    const cudaStream_t stream = static_cast<CudaExec&>(exec).stream;
    cuda::FinishArg f = op_.finish(args);
    if (f.y.rows == 0) return;
    const CodesRoom room(op_.s, f.y.rows, f.y.dtype);
    F8MatmulOperands o;
    const Codes x = op_.round_x(args, room.x, stream);
    o.x = x.codes;
    o.x_scales = x.scales;
    o.tokens = f.y.rows;
    o.workspace = args.workspace;
    if (is_whole(f)) {
      o.c = f.residual.data;
      o.c_stride = f.residual.stride;
      return multiply(o, args.in[1].data, f.y, stream);
    }
    cuda::RowsArg product = f.y;
    product.stride = product.width;
    product.data = args.workspace + room.product;
    multiply(o, args.in[1].data, product, stream);
    f.a = product;
    if (op_.weights == 2) {
      product.data = args.workspace + room.product + room.product_bytes;
      multiply(o, args.in[2].data, product, stream);
      f.b = product;
    }
    cuda::finish_linear(f, stream);
  }

 private:
  // Whether the product is all there is to do, where cuBLASLt can write.
  bool is_whole(const cuda::FinishArg& f) const {
    if (op_.weights == 2 || f.bias.data || f.activation != cuda::MapKind::copy) return false;
    if (f.residual.data && (f.residual.dtype != f.y.dtype || !in_vectors(f.residual))) return false;
    return in_vectors(f.y);
  }
  void multiply(F8MatmulOperands& o, const std::byte* weight, const cuda::RowsArg& y,
                cudaStream_t stream) const {
    o.weight = weight;
    o.weight_scales = op_.scales_of(weight);
    o.y = y.data;
    o.y_stride = y.stride;
    matmul_.run(o, stream);
  }

  const CodesLinear op_;
  const F8Matmul matmul_;
};

class F8LinearTactic final : public CudaTactic {
 public:
  F8LinearTactic(Op op, const CudaTarget& target, std::shared_ptr<const CublasLt> lt, bool fast)
      : CudaTactic(std::string(tokamak::name(op)) + ".f8.cublaslt" + (fast ? ".fast" : ""), op,
                   kCodesLinearSm, target),
        lt_(std::move(lt)),
        fast_(fast) {}

  size_t workspace_bytes(const OpSignature& s, int64_t tokens) const override {
    return CodesRoom(s, tokens, s.outputs[0].dtype).end;
  }
  std::string_view weight_layout(const OpSignature& s, int input) const override {
    return codes_linear_layout(s, input);
  }
  double estimate_us(const OpSignature& s, int64_t tokens) const override {
    const OpCost c = cost(s, tokens, tokens, 0);
    const double rate = (fast_ ? 1.8 : 1.6) * target_.half_gflop_s;
    return 5 + (op() == Op::linear_glu ? 6 : 3) +
           std::max(c.bytes / (0.8 * target_.read_gb_s), c.flops / rate) * 1e-3;
  }
  std::unique_ptr<Kernel> bind(const OpSignature& s) const override {
    if (!lt_) fail("cuBLASLt is not there: '{}' cannot run", name());
    return std::make_unique<F8Linear>(lt_, s, fast_);
  }

 protected:
  bool fits(const OpSignature& s) const override { return codes_linear_fits(target_, s, 8); }

 private:
  const std::shared_ptr<const CublasLt> lt_;
  const bool fast_;
};

}  // namespace

void add_f8_linear(CudaRegistry& r) {
  r.add_layout<F8Layout>();
  std::string why;
  const auto lt = r.offline ? nullptr : CublasLt::load(&why);
  if (!r.offline && (!lt || !has_f8_matmul(*lt))) {
    if (lt) log::warning("cuBLASLt is older than 12.9: no products of FP8 activations");
    return;  // its absence is told of by add_cublaslt_linear
  }
  for (const Op op : {Op::linear, Op::linear_glu})
    for (const bool fast : {false, true}) r.add<F8LinearTactic>(op, r.target, lt, fast);
}

}  // namespace tokamak
