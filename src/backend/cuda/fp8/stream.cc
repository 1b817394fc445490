#include "backend/cuda/fp8/stream.h"

#include <algorithm>

#include "backend/cuda/fp8/boxes.h"
#include "backend/cuda/fp8/codes_linear.h"
#include "backend/cuda/fp8/layout.h"
#include "backend/cuda/kernels/f8_format.h"
#include "backend/cuda/kernels/f8_stream.h"

namespace tokamak {
namespace {

constexpr double kSecondCacheGbS = 5500;

class F8Stream final : public Kernel {
 public:
  F8Stream(const OpSignature& s, const CudaTarget& target, bool codes, int ahead_bytes)
      : op_(s),
        codes_(codes),
        multiprocessors_(target.multiprocessors),
        ahead_bytes_(ahead_bytes) {}

  void launch(const LaunchArgs& args, ExecContext& exec) const override {
    const cudaStream_t stream = static_cast<CudaExec&>(exec).stream;
    const cuda::FinishArg f = op_.finish(args);
    if (f.y.rows == 0) return;
    const ReadyX ready = op_.ready_x(args, codes_, stream);
    cuda::F8StreamArg a;
    a.bias = f.bias;
    a.bias_b = f.bias_b;
    a.activation = f.activation;
    a.dtype = ready.x.dtype;
    a.glu = op_.weights == 2;
    a.n = op_.n;
    a.k = op_.k;
    const int64_t most = codes_ ? cuda::kF8StreamTokens : cuda::kF8StreamHalfTokens;
    a.share = cuda::f8_stream_share(multiprocessors_, a.n, a.k, a.glu, codes_);
    for (int64_t begin = 0; begin < f.y.rows; begin += most) {
      a.tokens = static_cast<int>(std::min(most, f.y.rows - begin));
      a.y = from_row(f.y, begin);
      a.residual = from_row(f.residual, begin);
      set_maps(a, args, from_row(ready.x, begin));
      if (codes_) a.x_scales = ready.scales + begin;
      cuda::f8_stream(a, ahead_bytes_, stream);
    }
  }

 private:
  void set_maps(cuda::F8StreamArg& a, const LaunchArgs& args, const cuda::RowsArg& x) const {
    const int rows = a.glu ? 8 : 16, columns = a.share.columns;
    const int x_columns = codes_ ? columns : cuda::F8Format::kColumns;
    a.x = maps_.units(x.data, x.dtype, a.tokens, op_.k, x.stride, x_columns,
                      cuda::f8_stream_box(a.tokens, codes_), a.share.units * columns / x_columns);
    const std::byte *w = args.in[1].data, *w_b = args.in[op_.weights].data;
    for (int less = 0; less < 2; ++less) {
      const int box = std::max(1, a.share.most - less) * rows;
      a.w[less] = maps_.units(w, DType::u8, op_.n, op_.k, op_.k, columns, box, a.share.box_units);
      a.w_b[less] =
          maps_.units(w_b, DType::u8, op_.n, op_.k, op_.k, columns, box, a.share.box_units);
    }
    a.scales = op_.scales_of(w);
    a.scales_b = op_.scales_of(w_b);
  }

  const CodesLinear op_;
  const bool codes_;
  const int multiprocessors_, ahead_bytes_;
  const BoxMaps maps_;
};

class F8StreamTactic final : public CudaTactic {
 public:
  // codes: activations are rounded to FP8, too. ahead_bytes: fetched into the second cache by every
  // block while it waits for its turn.
  F8StreamTactic(Op op, const CudaTarget& target, bool codes, int ahead_bytes)
      : CudaTactic(std::string(tokamak::name(op)) + ".f8.stream" + (codes ? ".codes" : ".half") +
                       (ahead_bytes > 0 ? ".ahead" : ""),
                   op, kCodesLinearSm, target),
        codes_(codes),
        ahead_bytes_(ahead_bytes) {}

  size_t workspace_bytes(const OpSignature& s, int64_t tokens) const override {
    const int64_t k = s.inputs[1].shape[1].size;
    return codes_ ? CodesPlace(0, tokens, k).end : static_cast<size_t>(2 * tokens * k);
  }
  std::string_view weight_layout(const OpSignature&, int input) const override {
    return input == 1 || (input == 2 && op() == Op::linear_glu) ? kF8Layout : "plain";
  }
  double estimate_us(const OpSignature& s, int64_t tokens) const override {
    const int64_t most = codes_ ? cuda::kF8StreamTokens : cuda::kF8StreamHalfTokens;
    const auto passes = static_cast<double>((tokens + most - 1) / most);
    const OpCost c = cost(s, std::min(tokens, most), std::min(tokens, most), 0);
    // Every block fetches all of x from the second cache.
    const double x_bytes = static_cast<double>(target_.multiprocessors * std::min(tokens, most) *
                                               s.inputs[1].shape[1].size * (codes_ ? 1 : 2));
    return (codes_ ? 2 : 0) + (ahead_bytes_ == 0 ? 0 : 0.01) +
           passes *
               (1.5 + (c.bytes / (0.9 * target_.read_gb_s) + x_bytes / kSecondCacheGbS) * 1e-3);
  }
  std::unique_ptr<Kernel> bind(const OpSignature& s) const override {
    return std::make_unique<F8Stream>(s, target_, codes_, ahead_bytes_);
  }

 protected:
  bool fits(const OpSignature& s) const override {
    const ValueType &x = s.inputs[0], &w = s.inputs[1];
    const LinearAttrs a = LinearAttrs::from(s.attrs);
    if (target_.sm != kCodesLinearSm || w.dtype != DType::f8_row) return false;
    if (codes_ ? a.activation_bits != 8 || a.deterministic || w.shape[1].size > kCodesMaxColumns
               : x.dtype != DType::f16 && x.dtype != DType::bf16)
      return false;
    if (w.shape[0].size == 0 || w.shape[1].size % cuda::F8Format::kColumns != 0) return false;
    return are_linear_operands(s);
  }

 private:
  const bool codes_;
  const int ahead_bytes_;
};

}  // namespace

void add_f8_stream(CudaRegistry& r) {
  constexpr int kAhead = 64 << 10;
  for (const Op op : {Op::linear, Op::linear_glu})
    for (const bool codes : {true, false})
      for (const int ahead : {kAhead, 0}) r.add<F8StreamTactic>(op, r.target, codes, ahead);
}

}  // namespace tokamak
