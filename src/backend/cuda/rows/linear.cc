#include "backend/cuda/rows/linear.h"

#include <algorithm>

#include "backend/cuda/bound_linear.h"
#include "backend/cuda/fp8/layout.h"
#include "backend/cuda/kernels/rows_linear.h"
#include "backend/cuda/stream/layout.h"

namespace tokamak {
namespace {

using cuda::RowsWeights;

RowsWeights rows_weights(DType t) {
  return t == DType::f8_row ? RowsWeights::f8
         : is_half(t)       ? RowsWeights::plain
                            : RowsWeights::codes;
}
cuda::StreamFormat format_of(DType t) { return stream_format(t).value_or(cuda::StreamFormat{}); }
int64_t most_tokens(const OpSignature& s, const CudaTarget& target) {
  const ValueType& w = s.inputs[1];
  return cuda::rows_linear_tokens(rows_weights(w.dtype), format_of(w.dtype), w.shape[0].size,
                                  w.shape[1].size, s.op == Op::linear_glu, target.multiprocessors);
}

class RowsLinear final : public Kernel {
 public:
  RowsLinear(const OpSignature& s, const CudaTarget& target)
      : op_(s), multiprocessors_(target.multiprocessors), most_tokens_(most_tokens(s, target)) {}

  void launch(const LaunchArgs& args, ExecContext& exec) const override {
    const cudaStream_t stream = static_cast<CudaExec&>(exec).stream;
    const cuda::FinishArg f = op_.finish(args);
    if (f.y.rows == 0) return;
    const DType weights = op_.s.inputs[1].dtype;
    cuda::RowsLinearArg a;
    a.weights = rows_weights(weights);
    a.w = args.in[1].as<const uint8_t>();
    if (op_.weights == 2) a.w_b = args.in[2].as<const uint8_t>();
    a.format = format_of(weights);
    a.n = op_.n;
    a.k = op_.k;
    a.activation = f.activation;
    a.bias = f.bias;
    a.bias_b = f.bias_b;
    const cuda::RowsArg x = op_.x_in_vectors(args, args.workspace, stream);
    a.dtype = x.dtype;
    for (int64_t token = 0; token < f.y.rows; token += most_tokens_) {
      a.tokens = static_cast<int>(std::min(most_tokens_, f.y.rows - token));
      a.x = from_row(x, token);
      a.y = from_row(f.y, token);
      a.residual = from_row(f.residual, token);
      cuda::rows_linear(a, multiprocessors_, stream);
    }
  }

 private:
  const BoundLinear op_;
  const int multiprocessors_;
  const int64_t most_tokens_;
};

class RowsTactic final : public CudaTactic {
 public:
  RowsTactic(Op op, const CudaTarget& target)
      : CudaTactic(std::string(tokamak::name(op)) + ".rows", op, 90, target) {}
  size_t workspace_bytes(const OpSignature& s, int64_t tokens) const override {
    return static_cast<size_t>(tokens * s.inputs[1].shape[1].size) * 2;
  }
  std::string_view weight_layout(const OpSignature& s, int input) const override {
    const size_t weights = op() == Op::linear_glu ? 2 : 1;
    if (input == 0 || static_cast<size_t>(input) > weights) return "plain";
    switch (rows_weights(s.inputs[1].dtype)) {
      case RowsWeights::f8:
        return kF8Layout;
      case RowsWeights::codes:
        return StreamLayout::kName;
      case RowsWeights::plain:
        break;
    }
    return "plain";
  }
  // The weights are read once for as many tokens as there is room for; every block reads all of x.
  double estimate_us(const OpSignature& s, int64_t tokens) const override {
    constexpr double kSecondCacheGbS = 4000;
    const int64_t most = most_tokens(s, target_), k = s.inputs[1].shape[1].size;
    const int64_t at_once = std::min(tokens, most), passes = (tokens + most - 1) / most;
    const double x_bytes = static_cast<double>(target_.multiprocessors * at_once * k * 2);
    return static_cast<double>(passes) *
           (2 + (cost(s, at_once, at_once, 0).bytes / (0.95 * target_.read_gb_s) +
                 x_bytes / kSecondCacheGbS) *
                    1e-3);
  }
  std::unique_ptr<Kernel> bind(const OpSignature& s) const override {
    return std::make_unique<RowsLinear>(s, target_);
  }

 protected:
  bool fits(const OpSignature& s) const override {
    const ValueType &x = s.inputs[0], &w = s.inputs[1];
    if (target_.sm != 90 || !is_half(x.dtype)) return false;
    if (rows_weights(w.dtype) == RowsWeights::plain && w.dtype != x.dtype) return false;
    if (rows_weights(w.dtype) == RowsWeights::codes && !stream_format(w.dtype)) return false;
    // The order of sums depends neither on the timing nor on other tokens, but is not that of the
    // tactics for more of them.
    if (LinearAttrs::from(s.attrs).deterministic) return false;
    if (w.shape[0].size == 0 || most_tokens(s, target_) == 0) return false;
    return are_linear_operands(s);
  }
};

}  // namespace

void add_rows_linear(CudaRegistry& r) {
  for (const Op op : {Op::linear, Op::linear_glu}) r.add<RowsTactic>(op, r.target);
}

}  // namespace tokamak
