#include "backend/cuda/fp8/late_scales.h"

#include <algorithm>
#include <cmath>

#include "backend/cuda/cublaslt/f8_matmul.h"
#include "backend/cuda/fp8/codes_linear.h"

namespace tokamak {
namespace {

constexpr int kChoices[] = {4, 0};    // of cuBLASLt's proposals: those that have won on an H100
constexpr int64_t kManyTokens = 512;  // from here on the choice matters

// A power of two that keeps sums of k products of codes within f16.
float factor_for(int64_t k) {
  constexpr double kCode = 448, kLargest = 65504;
  return static_cast<float>(
      std::exp2(-std::ceil(std::log2(kCode * kCode * static_cast<double>(k) / kLargest))));
}

class LateScales final : public Kernel {
 public:
  LateScales(const std::shared_ptr<const CublasLt>& lt, const OpSignature& s, int choice)
      : op_(s),
        matmul_(lt, {op_.n, op_.k, DType::f16, true, false, factor_for(op_.k), 2, choice}) {}

  void launch(const LaunchArgs& args, ExecContext& exec) const override {
    const cudaStream_t stream = static_cast<CudaExec&>(exec).stream;
    cuda::FinishArg f = op_.finish(args);
    if (f.y.rows == 0) return;
    const CodesRoom room(op_.s, f.y.rows, DType::f16);
    const Codes x = op_.round_x(args, room.x, stream);

    // cuBLASLt steps forward from the weight that lies first.
    const std::byte *first = args.in[1].data, *other = args.in[2].data;
    const bool swapped = other < first;
    if (swapped) std::swap(first, other);
    F8MatmulOperands o;
    o.x = x.codes;
    o.weight = first;
    o.weight_apart = other - first;
    o.tokens = f.y.rows;
    o.y = args.workspace + room.product;
    o.y_stride = op_.n;
    o.y_apart = static_cast<int64_t>(room.product_bytes / sizeof(uint16_t));
    o.workspace = args.workspace;
    matmul_.run(o, stream);

    f.a = f.b = {o.y, f.y.rows, op_.n, op_.n, DType::f16};
    (swapped ? f.a : f.b).data = static_cast<uint16_t*>(o.y) + o.y_apart;
    f.row_scales = x.scales;
    f.a_scales = op_.scales_of(args.in[1].data);
    f.b_scales = op_.scales_of(args.in[2].data);
    f.factor = 1 / factor_for(op_.k);
    cuda::scale_linear(f, stream);
  }

 private:
  const CodesLinear op_;
  const F8Matmul matmul_;
};

class LateScalesTactic final : public CudaTactic {
 public:
  LateScalesTactic(const CudaTarget& target, std::shared_ptr<const CublasLt> lt, int choice)
      : CudaTactic("linear_glu.f8.late." + std::to_string(choice), Op::linear_glu, kCodesLinearSm,
                   target),
        lt_(std::move(lt)),
        choice_(choice) {}

  size_t workspace_bytes(const OpSignature& s, int64_t tokens) const override {
    return CodesRoom(s, tokens, DType::f16).end;
  }
  std::string_view weight_layout(const OpSignature& s, int input) const override {
    return codes_linear_layout(s, input);
  }
  double estimate_us(const OpSignature& s, int64_t tokens) const override {
    const OpCost c = cost(s, tokens, tokens, 0);
    const double rate = 1.85 * target_.half_gflop_s;
    const double us = 9 + std::max(c.bytes / (0.8 * target_.read_gb_s), c.flops / rate) * 1e-3;
    return choice_ == 0 || tokens >= kManyTokens ? us + 0.1 * choice_ : 100 * us;
  }
  std::unique_ptr<Kernel> bind(const OpSignature& s) const override {
    if (!lt_) fail("cuBLASLt is not there: '{}' cannot run", name());
    return std::make_unique<LateScales>(lt_, s, choice_);
  }

 protected:
  // All operands in vectors: the arena and packed weights begin at multiples of 16 bytes.
  bool fits(const OpSignature& s) const override {
    const DType y = s.outputs[0].dtype;
    return (y == DType::f16 || y == DType::bf16) && codes_linear_fits(target_, s, 16);
  }

 private:
  const std::shared_ptr<const CublasLt> lt_;
  const int choice_;
};

}  // namespace

void add_f8_late_scales(CudaRegistry& r) {
  std::string why;
  const auto lt = r.offline ? nullptr : CublasLt::load(&why);
  if (!r.offline && !lt) return;  // its absence is told of by add_cublaslt_linear
  for (const int choice : kChoices) r.add<LateScalesTactic>(r.target, lt, choice);
}

}  // namespace tokamak
