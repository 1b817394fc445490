#include "backend/cuda/strips/linear.h"

#include <algorithm>

#include "backend/cuda/fp8/boxes.h"
#include "backend/cuda/fp8/codes_linear.h"
#include "backend/cuda/kernels/strip_linear.h"

namespace tokamak {
namespace {

int at_once(int64_t tokens) {
  return static_cast<int>(std::min<int64_t>(tokens, cuda::kStripTokens));
}
int unit_columns(bool codes) { return cuda::kStripUnitBytes / (codes ? 1 : 2); }

class StripLinear final : public Kernel {
 public:
  StripLinear(const OpSignature& s, const CudaTarget& target)
      : op_(s),
        codes_(s.inputs[1].dtype == DType::f8_row),
        dtype_(codes_ ? DType::u8 : s.inputs[1].dtype),
        share_(cuda::strip_share(target.multiprocessors, op_.n, static_cast<int>(op_.weights))) {}

  void launch(const LaunchArgs& args, ExecContext& exec) const override {
    const cudaStream_t stream = static_cast<CudaExec&>(exec).stream;
    const cuda::FinishArg f = op_.finish(args);
    if (f.y.rows == 0) return;
    cuda::StripArg a;
    a.share = share_;
    a.dtype = codes_ ? DType::f8e4m3 : dtype_;
    a.weights = static_cast<int>(op_.weights);
    a.n = op_.n;
    a.k = op_.k;
    a.activation = f.activation;
    a.bias = f.bias;
    a.bias_b = f.bias_b;
    a.vectors =
        in_vectors(f.bias) && in_vectors(f.bias_b) && in_vectors(f.residual) && in_vectors(f.y);
    const ReadyX ready = op_.ready_x(args, codes_, stream);
    for (int64_t token = 0; token < f.y.rows; token += cuda::kStripTokens) {
      a.tokens = at_once(f.y.rows - token);
      a.box = cuda::strip_box(a.tokens);
      a.units = cuda::strip_units(share_.rows, a.box);
      set_maps(a, args, from_row(ready.x, token));
      if (codes_) a.row_scales = ready.scales + token;
      a.y = from_row(f.y, token);
      a.residual = from_row(f.residual, token);
      cuda::strip_linear(a, stream);
    }
  }

 private:
  CUtensorMap map(const void* data, int64_t rows, int64_t stride, int box_rows, int units) const {
    return maps_.units(data, dtype_, rows, op_.k, stride, unit_columns(codes_), box_rows, units);
  }
  void set_maps(cuda::StripArg& a, const LaunchArgs& args, const cuda::RowsArg& x) const {
    a.x = a.units > 1 ? map(x.data, a.tokens, x.stride, a.box, a.units / 2)
                      : map(x.data, a.tokens, x.stride, a.box / 2, 1);
    const std::byte *w = args.in[1].data, *w_b = args.in[op_.weights].data;
    for (int less = 0; less < 2; ++less) {
      const int rows = std::max(1, share_.most - less * cuda::StripShare::kStep);
      const int units = a.weights == 2 ? 1 : a.units;
      a.w[less] = map(w, op_.n, op_.k, rows, units);
      a.w_b[less] = a.weights == 2 ? map(w_b, op_.n, op_.k, rows, units) : a.w[less];
    }
    if (codes_) {
      a.scales = op_.scales_of(w);
      a.scales_b = op_.scales_of(w_b);
    }
  }

  const CodesLinear op_;
  const bool codes_;
  const DType dtype_;  // as the maps see it
  const cuda::StripShare share_;
  const BoxMaps maps_;
};

class StripTactic final : public CudaTactic {
 public:
  StripTactic(Op op, const CudaTarget& target, bool codes)
      : CudaTactic(std::string(tokamak::name(op)) + (codes ? ".f8" : "") + ".strips", op, 90,
                   target),
        codes_(codes) {}

  size_t workspace_bytes(const OpSignature& s, int64_t tokens) const override {
    const int64_t k = s.inputs[1].shape[1].size;
    if (codes_) return CodesPlace(0, tokens, k).end;
    return bytes_of(s.inputs[0].dtype, tokens * k);
  }
  std::string_view weight_layout(const OpSignature& s, int input) const override {
    return codes_ ? codes_linear_layout(s, input) : "plain";
  }
  // Every 128 tokens read the weights again; every two blocks fetch all of x from the second cache.
  // The shares of the bandwidths and of the products' peak are measured ones.
  double estimate_us(const OpSignature& s, int64_t tokens) const override {
    constexpr double kSecondCacheGbS = 5500;
    const OpCost c = cost(s, tokens, tokens, 0), one = cost(s, 1, 1, 0);
    const int64_t passes = (tokens + cuda::kStripTokens - 1) / cuda::kStripTokens;
    const double bytes = c.bytes + static_cast<double>(passes - 1) * one.bytes;
    const double x_bytes = static_cast<double>(target_.multiprocessors / 2 * tokens *
                                               s.inputs[1].shape[1].size * (codes_ ? 1 : 2));
    const double padded = static_cast<double>(tokens <= 64 ? 64 : passes * cuda::kStripTokens);
    const double rate = (codes_ ? 1 : 0.5) * target_.half_gflop_s;
    return (codes_ ? 6 : 4) * static_cast<double>(passes) +
           std::max(bytes / (0.95 * target_.read_gb_s) + 0.3 * x_bytes / kSecondCacheGbS,
                    one.flops * padded / rate) *
               1e-3;
  }
  std::unique_ptr<Kernel> bind(const OpSignature& s) const override {
    return std::make_unique<StripLinear>(s, target_);
  }

 protected:
  bool fits(const OpSignature& s) const override {
    const ValueType &x = s.inputs[0], &w = s.inputs[1];
    const LinearAttrs a = LinearAttrs::from(s.attrs);
    if (target_.sm != 90 || a.deterministic) return false;  // wgmma is sm_90a's alone
    if (a.activation != Activation::none && a.activation != Activation::silu &&
        a.activation != Activation::gelu_tanh)
      return false;
    const int64_t n = w.shape[0].size, k = w.shape[1].size;
    if (n < 16 || k == 0 || k % unit_columns(codes_) != 0) return false;
    if (codes_) return codes_linear_fits(target_, s, 8);
    if (!is_half(w.dtype) || x.dtype != w.dtype || n % 8 != 0) return false;
    return are_linear_operands(s);
  }

 private:
  const bool codes_;
};

}  // namespace

void add_strip_linear(CudaRegistry& r) {
  for (const Op op : {Op::linear, Op::linear_glu})
    for (const bool codes : {false, true}) r.add<StripTactic>(op, r.target, codes);
}

}  // namespace tokamak
