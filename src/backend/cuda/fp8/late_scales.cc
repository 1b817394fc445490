#include "backend/cuda/fp8/late_scales.h"

#include <algorithm>
#include <cmath>

#include "backend/cuda/cublaslt/f8_matmul.h"
#include "backend/cuda/fp8/layout.h"
#include "backend/cuda/kernels/f8_format.h"
#include "backend/cuda/kernels/f8_rows.h"
#include "backend/cuda/map_kind.h"
#include "ops/linear.h"

namespace tokamak {
namespace {

constexpr int kSm = 90;
constexpr int64_t kMaxColumns = 32768;  // of a row that quantize_f8_rows takes
constexpr int kChoices = 6;             // of linear_glu; one alone is bound by memory where it pays
constexpr int64_t kManyTokens = 512;    // from here on the choice matters
constexpr int64_t kFewTokens = 512;     // up to here the kernel behind one product is cheap

size_t aligned(size_t bytes) { return (bytes + 255) & ~size_t{255}; }

// A power of two that keeps sums of k products of codes within f16.
float factor_for(int64_t k) {
  constexpr double kCode = 448, kLargest = 65504;
  return static_cast<float>(
      std::exp2(-std::ceil(std::log2(kCode * kCode * static_cast<double>(k) / kLargest))));
}

// What lies in a launch's workspace, one after another.
struct Room {
  Room(int64_t tokens, int64_t n, int64_t k, int64_t products)
      : scales(kMatmulWorkspace),
        codes(scales + aligned(static_cast<size_t>(tokens) * sizeof(float))),
        product(codes + aligned(static_cast<size_t>(tokens * k))),
        end(product + aligned(bytes_of(DType::f16, products * tokens * n))) {}
  size_t scales, codes, product, end;
};

class LateScales final : public Kernel {
 public:
  LateScales(const std::shared_ptr<const CublasLt>& lt, const OpSignature& s, int choice)
      : s_(s),
        attrs_(LinearAttrs::from(s.attrs)),
        weights_(s.op == Op::linear_glu ? 2 : 1),
        n_(s.inputs[1].shape[0].size),
        k_(s.inputs[1].shape[1].size),
        matmul_(lt, {n_, k_, DType::f16, true, false, factor_for(k_), static_cast<int>(weights_),
                     choice}) {}

  void launch(const LaunchArgs& args, ExecContext& exec) const override {
    const cudaStream_t stream = static_cast<CudaExec&>(exec).stream;
    const auto in = [&](size_t i) { return rows_arg(s_.inputs[i], args.in[i], *args.step); };
    cuda::FinishArg f;
    f.y = rows_arg(s_.outputs[0], args.out[0], *args.step);
    if (f.y.rows == 0) return;
    const Room room(f.y.rows, n_, k_, static_cast<int64_t>(weights_));
    auto* codes = reinterpret_cast<uint8_t*>(args.workspace + room.codes);
    auto* scales = reinterpret_cast<float*>(args.workspace + room.scales);
    cuda::quantize_f8_rows(in(0), codes, scales, stream);

    // cuBLASLt steps forward from the weight that lies first.
    const std::byte *first = args.in[1].data, *other = args.in[weights_].data;
    const bool swapped = other < first;
    if (swapped) std::swap(first, other);
    F8MatmulOperands o;
    o.x = codes;
    o.weight = first;
    o.weight_apart = other - first;
    o.tokens = f.y.rows;
    o.y = args.workspace + room.product;
    o.y_stride = n_;
    o.y_apart = f.y.rows * n_;
    o.workspace = args.workspace;
    matmul_.run(o, stream);

    f.a = {o.y, f.y.rows, n_, n_, DType::f16};
    if (weights_ == 2) {
      f.b = f.a;
      f.b.data = static_cast<uint16_t*>(o.y) + o.y_apart;
      if (swapped) std::swap(f.a, f.b);
    }
    if (attrs_.has_bias) f.bias = in(1 + weights_);
    if (attrs_.has_bias && weights_ == 2) f.bias_b = in(2 + weights_);
    if (attrs_.has_residual) f.residual = in(s_.inputs.size() - 1);
    f.activation = map_kind(attrs_.activation);
    f.row_scales = scales;
    f.a_scales = scales_of(args.in[1].data);
    if (weights_ == 2) f.b_scales = scales_of(args.in[2].data);
    f.factor = 1 / factor_for(k_);
    cuda::scale_linear(f, stream);
  }

 private:
  const float* scales_of(const std::byte* weight) const {
    return reinterpret_cast<const float*>(weight + cuda::F8Format::scales_at(n_, k_));
  }

  const OpSignature s_;
  const LinearAttrs attrs_;
  const size_t weights_;
  const int64_t n_, k_;
  const F8Matmul matmul_;
};

class LateScalesTactic final : public CudaTactic {
 public:
  LateScalesTactic(Op op, const CudaTarget& target, std::shared_ptr<const CublasLt> lt, int choice)
      : CudaTactic(std::string(tokamak::name(op)) + ".f8.late." + std::to_string(choice), op, kSm,
                   target),
        lt_(std::move(lt)),
        choice_(choice) {}

  size_t workspace_bytes(const OpSignature& s, int64_t tokens) const override {
    const ValueType& w = s.inputs[1];
    return Room(tokens, w.shape[0].size, w.shape[1].size, op() == Op::linear_glu ? 2 : 1).end;
  }
  std::string_view weight_layout(const OpSignature&, int input) const override {
    return input == 1 || (input == 2 && op() == Op::linear_glu) ? kF8Layout : "plain";
  }
  double estimate_us(const OpSignature& s, int64_t tokens) const override {
    const OpCost c = cost(s, tokens, tokens, 0);
    const double rate = 1.85 * target_.half_gflop_s;
    const double us = 9 + std::max(c.bytes / (0.8 * target_.read_gb_s), c.flops / rate) * 1e-3;
    const bool worth =
        op() == Op::linear_glu ? choice_ == 0 || tokens >= kManyTokens : tokens <= kFewTokens;
    return worth ? us + 0.1 * choice_ : 100 * us;
  }
  std::unique_ptr<Kernel> bind(const OpSignature& s) const override {
    if (!lt_) fail("cuBLASLt is not there: '{}' cannot run", name());
    return std::make_unique<LateScales>(lt_, s, choice_);
  }

 protected:
  // All operands in vectors: the arena and packed weights begin at multiples of 16 bytes.
  bool fits(const OpSignature& s) const override {
    const ValueType &x = s.inputs[0], &w = s.inputs[1], &y = s.outputs[0];
    const LinearAttrs a = LinearAttrs::from(s.attrs);
    if (target_.sm != kSm || a.deterministic || a.activation_bits != 8) return false;
    if (w.dtype != DType::f8_row || (y.dtype != DType::f16 && y.dtype != DType::bf16)) return false;
    const int64_t n = w.shape[0].size, k = w.shape[1].size;
    if (k % cuda::F8Format::kColumns != 0 || k > kMaxColumns || n % 16 != 0) return false;
    const size_t weights = op() == Op::linear_glu ? 2 : 1;
    if (weights == 2 && s.inputs[2] != w) return false;
    if (x.shape.size() != 2 || !is_cuda_activation(x.dtype)) return false;
    for (size_t i = 1 + weights; i < s.inputs.size(); ++i)
      if (!is_cuda_activation(s.inputs[i].dtype)) return false;
    return true;
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
  r.add<LateScalesTactic>(Op::linear, r.target, lt, 0);
  for (int choice = kChoices - 1; choice >= 0; --choice)
    r.add<LateScalesTactic>(Op::linear_glu, r.target, lt, choice);
}

}  // namespace tokamak
