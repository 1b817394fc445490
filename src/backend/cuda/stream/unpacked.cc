#include "backend/cuda/stream/unpacked.h"

#include <algorithm>

#include "backend/cuda/cublaslt/matmul.h"
#include "backend/cuda/kernels/stream_linear.h"
#include "backend/cuda/kernels/vectors.h"
#include "backend/cuda/map_kind.h"
#include "backend/cuda/stream/layout.h"
#include "base/log.h"
#include "ops/linear.h"

namespace tokamak {
namespace {

constexpr int64_t kPartBytes = 64 << 20;  // of unpacked weights

// Sizes of what a launch works with, and where it lies in the workspace: cuBLAS's room, a part of
// the weights, x where it is rounded, and of linear_glu the first product.
struct UnpackedUse {
  explicit UnpackedUse(const OpSignature& s)
      : n(s.inputs[1].shape[0].size),
        k(s.inputs[1].shape[1].size),
        rounds(s.inputs[0].dtype == DType::f32),
        dtype(rounds ? DType::bf16 : s.inputs[0].dtype),
        y(s.outputs[0].dtype),
        rows(std::min(n, std::max<int64_t>(kPartBytes / (2 * k) / 64 * 64, 64))) {}
  const int64_t n, k;
  const bool rounds;  // float32 x to bfloat16
  const DType dtype, y;
  const int64_t rows;  // of a part

  size_t x_at() const { return kMatmulWorkspace + static_cast<size_t>(2 * rows * k); }
  size_t product_at(int64_t tokens) const {
    return x_at() + (rounds ? bytes_of(dtype, tokens * k) : 0);
  }
  size_t bytes(int64_t tokens, bool glu) const {
    return product_at(tokens) + (glu ? bytes_of(y, tokens * n) : 0);
  }
  MatmulShape shape(int64_t part_rows, bool has_bias) const {
    return {part_rows, k, dtype, dtype, y, has_bias, 0};
  }
};

class UnpackedLinear final : public Kernel {
 public:
  UnpackedLinear(const std::shared_ptr<const CublasLt>& lt, const OpSignature& s)
      : s_(s),
        attrs_(LinearAttrs::from(s.attrs)),
        use_(s),
        format_(*stream_format(s.inputs[1].dtype)),
        activation_(map_kind(attrs_.activation)),
        part_(lt, use_.shape(use_.rows, attrs_.has_bias)),
        last_(lt, use_.shape(use_.n % use_.rows, attrs_.has_bias)) {}

  void launch(const LaunchArgs& args, ExecContext& exec) const override {
    const cudaStream_t stream = static_cast<CudaExec&>(exec).stream;
    const cuda::RowsArg y = rows_arg(s_.outputs[0], args.out[0], *args.step);
    cuda::RowsArg x = rows_arg(s_.inputs[0], args.in[0], *args.step);
    if (y.rows == 0) return;
    if (use_.rounds) {
      const cuda::RowsArg to{args.workspace + use_.x_at(), x.rows, use_.k, use_.k, use_.dtype};
      cuda::map_vectors(cuda::MapKind::copy, 0, x, to, stream);
      x = to;
    }
    if (s_.op == Op::linear) {
      product(args, 0, 1, x, y, stream);
      if (activation_ != cuda::MapKind::copy) cuda::map_vectors(activation_, 0, y, y, stream);
      return;
    }
    cuda::RowsArg first = y;
    first.data = args.workspace + use_.product_at(y.rows);
    first.stride = use_.n;
    product(args, 0, 2, x, first, stream);
    product(args, 1, 2, x, y, stream);
    cuda::glu_vectors(activation_, first, y, y, stream);
  }

 private:
  void product(const LaunchArgs& args, size_t w, size_t weights, const cuda::RowsArg& x,
               const cuda::RowsArg& y, cudaStream_t stream) const {
    std::byte* unpacked = args.workspace + kMatmulWorkspace;
    MatmulOperands o;
    o.x = x.data;
    o.x_stride = x.stride;
    o.tokens = x.rows;
    o.weight = unpacked;
    o.y_stride = y.stride;
    o.workspace = args.workspace;
    for (int64_t row = 0; row < use_.n; row += use_.rows) {
      const int64_t end = std::min(use_.n, row + use_.rows);
      cuda::stream_unpack(args.in[1 + w].as<const uint8_t>(), format_, row, end, use_.k, use_.dtype,
                          unpacked, stream);
      o.y = static_cast<std::byte*>(y.data) + bytes_of(use_.y, row);
      if (attrs_.has_bias) o.bias = args.in[1 + weights + w].data + bytes_of(use_.y, row);
      if (attrs_.has_residual) {
        o.c = args.in.back().data + bytes_of(use_.y, row);
        o.c_stride = args.in.back().row_stride;
      }
      (end - row == use_.rows ? part_ : last_).run(o, stream);
    }
  }

  const OpSignature s_;
  const LinearAttrs attrs_;
  const UnpackedUse use_;
  const cuda::StreamFormat format_;
  const cuda::MapKind activation_;
  const Matmul part_, last_;
};

class UnpackedTactic final : public CudaTactic {
 public:
  // bf16: float32 activations are rounded to it; otherwise they have 16 bits already.
  UnpackedTactic(Op op, const CudaTarget& target, std::shared_ptr<const CublasLt> lt, bool bf16)
      : CudaTactic(
            std::string(tokamak::name(op)) + ".unpacked" + (bf16 ? ".bf16" : "") + ".cublaslt", op,
            80, target),
        lt_(std::move(lt)),
        bf16_(bf16) {}

  size_t workspace_bytes(const OpSignature& s, int64_t tokens) const override {
    return UnpackedUse(s).bytes(tokens, op() == Op::linear_glu);
  }
  std::string_view weight_layout(const OpSignature&, int) const override {
    return StreamLayout::kName;
  }
  // The codes are read, 16-bit weights written and, from the second cache, read.
  double estimate_us(const OpSignature& s, int64_t tokens) const override {
    const UnpackedUse u(s);
    const OpCost c = cost(s, tokens, tokens, 0);
    const double weights = 2.0 * static_cast<double>(u.n * u.k) * (op() == Op::linear_glu ? 2 : 1);
    return 10 + ((c.bytes + 1.5 * weights) / (0.8 * target_.read_gb_s) +
                 c.flops / (0.9 * target_.half_gflop_s)) *
                    1e-3;
  }
  std::unique_ptr<Kernel> bind(const OpSignature& s) const override {
    if (!lt_) fail("cuBLASLt is not there: '{}' cannot run", name());
    return std::make_unique<UnpackedLinear>(lt_, s);
  }

 protected:
  // As cuBLASLt's tactics: an activation may not come between the product and the residual.
  bool fits(const OpSignature& s) const override {
    const ValueType &x = s.inputs[0], &w = s.inputs[1], &y = s.outputs[0];
    const LinearAttrs a = LinearAttrs::from(s.attrs);
    if (a.deterministic || !stream_format(w.dtype) || x.shape.size() != 2) return false;
    if (!is_cuda_activation(x.dtype) || bf16_ != (x.dtype == DType::f32)) return false;
    if (y.dtype != x.dtype && y.dtype != DType::f32) return false;
    if (w.shape[1].size % 16 != 0 || w.shape[0].size % 8 != 0) return false;
    const size_t weights = op() == Op::linear_glu ? 2 : 1;
    if (weights == 2 && s.inputs[2] != w) return false;
    for (size_t i = 0; a.has_bias && i < weights; ++i)
      if (s.inputs[1 + weights + i].dtype != y.dtype) return false;
    return !a.has_residual ||
           (s.inputs.back().dtype == y.dtype && a.activation == Activation::none);
  }

 private:
  const std::shared_ptr<const CublasLt> lt_;
  const bool bf16_;
};

}  // namespace

void add_unpacked_linear(CudaRegistry& r) {
  std::string why;
  const auto lt = r.offline ? nullptr : CublasLt::load(&why);
  if (!lt && !r.offline) return;  // cuBLASLt's own tactics have said so
  for (const Op op : {Op::linear, Op::linear_glu})
    for (const bool bf16 : {false, true}) r.add<UnpackedTactic>(op, r.target, lt, bf16);
}

}  // namespace tokamak
