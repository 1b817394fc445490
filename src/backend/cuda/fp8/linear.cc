#include "backend/cuda/fp8/linear.h"

#include <algorithm>

#include "backend/cuda/cublaslt/f8_matmul.h"
#include "backend/cuda/cublaslt/matmul.h"
#include "backend/cuda/fp8/layout.h"
#include "backend/cuda/kernels/f8_format.h"
#include "backend/cuda/kernels/f8_rows.h"
#include "backend/cuda/map_kind.h"
#include "base/log.h"
#include "ops/linear.h"

namespace tokamak {
namespace {

constexpr int kSm = 90;                 // where cuBLASLt is known to take scales per row
constexpr int64_t kMaxColumns = 32768;  // of a row that quantize_f8_rows takes

size_t aligned(size_t bytes) { return (bytes + 255) & ~size_t{255}; }

bool in_sixteens(const cuda::RowsArg& r) {
  return reinterpret_cast<uintptr_t>(r.data) % 16 == 0 &&
         static_cast<size_t>(r.stride) * static_cast<size_t>(info(r.dtype).block_bytes) % 16 == 0;
}

// What lies in a launch's workspace, one after another.
struct Room {
  Room(int64_t tokens, int64_t n, int64_t k, DType y, size_t products)
      : scales(kMatmulWorkspace),
        codes(scales + aligned(static_cast<size_t>(tokens) * sizeof(float))),
        product(codes + aligned(static_cast<size_t>(tokens * k))),
        product_bytes(aligned(bytes_of(y, tokens * n))),
        end(product + products * product_bytes) {}
  size_t scales, codes, product, product_bytes, end;
};

class F8Linear final : public Kernel {
 public:
  F8Linear(const std::shared_ptr<const CublasLt>& lt, const OpSignature& s, bool fast)
      : s_(s),
        attrs_(LinearAttrs::from(s.attrs)),
        weights_(s.op == Op::linear_glu ? 2 : 1),
        n_(s.inputs[1].shape[0].size),
        k_(s.inputs[1].shape[1].size),
        activation_(map_kind(attrs_.activation)),
        matmul_(lt, {n_, k_, s.outputs[0].dtype, fast}) {}

  void launch(const LaunchArgs& args, ExecContext& exec) const override {
    const cudaStream_t stream = static_cast<CudaExec&>(exec).stream;
    const auto in = [&](size_t i) { return rows_arg(s_.inputs[i], args.in[i], *args.step); };
    cuda::FinishArg f;
    f.y = rows_arg(s_.outputs[0], args.out[0], *args.step);
    if (f.y.rows == 0) return;
    if (attrs_.has_bias) f.bias = in(1 + weights_);
    if (attrs_.has_bias && weights_ == 2) f.bias_b = in(2 + weights_);
    if (attrs_.has_residual) f.residual = in(s_.inputs.size() - 1);
    f.activation = activation_;
    const Room room(f.y.rows, n_, k_, f.y.dtype, weights_);
    F8MatmulOperands o;
    auto* codes = reinterpret_cast<uint8_t*>(args.workspace + room.codes);
    auto* scales = reinterpret_cast<float*>(args.workspace + room.scales);
    cuda::quantize_f8_rows(in(0), codes, scales, stream);
    o.x = codes;
    o.x_scales = scales;
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
    if (weights_ == 2) {
      product.data = args.workspace + room.product + room.product_bytes;
      multiply(o, args.in[2].data, product, stream);
      f.b = product;
    }
    cuda::finish_linear(f, stream);
  }

 private:
  // Whether the product is all there is to do, where cuBLASLt can write.
  bool is_whole(const cuda::FinishArg& f) const {
    if (weights_ == 2 || f.bias.data || activation_ != cuda::MapKind::copy) return false;
    if (f.residual.data && (f.residual.dtype != f.y.dtype || !in_sixteens(f.residual)))
      return false;
    return in_sixteens(f.y);
  }
  void multiply(F8MatmulOperands& o, const std::byte* weight, const cuda::RowsArg& y,
                cudaStream_t stream) const {
    o.weight = weight;
    o.weight_scales = reinterpret_cast<const float*>(weight + cuda::F8Format::scales_at(n_, k_));
    o.y = y.data;
    o.y_stride = y.stride;
    matmul_.run(o, stream);
  }

  const OpSignature s_;
  const LinearAttrs attrs_;
  const size_t weights_;
  const int64_t n_, k_;
  const cuda::MapKind activation_;
  const F8Matmul matmul_;
};

class F8LinearTactic final : public CudaTactic {
 public:
  F8LinearTactic(Op op, const CudaTarget& target, std::shared_ptr<const CublasLt> lt, bool fast)
      : CudaTactic(std::string(tokamak::name(op)) + ".f8.cublaslt" + (fast ? ".fast" : ""), op, kSm,
                   target),
        lt_(std::move(lt)),
        fast_(fast) {}

  size_t workspace_bytes(const OpSignature& s, int64_t tokens) const override {
    const ValueType& w = s.inputs[1];
    return Room(tokens, w.shape[0].size, w.shape[1].size, s.outputs[0].dtype,
                op() == Op::linear_glu ? 2 : 1)
        .end;
  }
  std::string_view weight_layout(const OpSignature&, int input) const override {
    return input == 1 || (input == 2 && op() == Op::linear_glu) ? kF8Layout : "plain";
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
  bool fits(const OpSignature& s) const override {
    const ValueType &x = s.inputs[0], &w = s.inputs[1];
    const LinearAttrs a = LinearAttrs::from(s.attrs);
    if (target_.sm != kSm || a.deterministic || a.activation_bits != 8) return false;
    if (w.dtype != DType::f8_row) return false;
    const int64_t n = w.shape[0].size, k = w.shape[1].size;
    if (k % cuda::F8Format::kColumns != 0 || k > kMaxColumns || n % 8 != 0) return false;
    const size_t weights = op() == Op::linear_glu ? 2 : 1;
    if (weights == 2 && s.inputs[2] != w) return false;
    if (x.shape.size() != 2 || !is_cuda_activation(x.dtype)) return false;
    for (size_t i = 1 + weights; i < s.inputs.size(); ++i)
      if (!is_cuda_activation(s.inputs[i].dtype)) return false;
    return is_cuda_activation(s.outputs[0].dtype);
  }

 private:
  const std::shared_ptr<const CublasLt> lt_;
  const bool fast_;
};

}  // namespace

void add_f8_linear(CudaRegistry& r) {
  r.layouts.push_back(std::make_unique<F8Layout>());
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
