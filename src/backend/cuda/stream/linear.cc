#include "backend/cuda/stream/linear.h"

#include <algorithm>

#include "backend/cuda/bound_linear.h"
#include "backend/cuda/device_memory.h"
#include "backend/cuda/kernels/stream_linear.h"
#include "backend/cuda/stream/layout.h"
#include "backend/cuda/stream/tensor_map.h"

namespace tokamak {
namespace {

// What a signature means for the kernel.
struct Use {
  Use(const OpSignature& s, const CudaTarget& target)
      : weights(s.op == Op::linear_glu ? 2 : 1),
        n(s.inputs[1].shape[0].size),
        k(s.inputs[1].shape[1].size),
        x_stride((k + 7) / 8 * 8),
        pair(s.inputs[0].dtype == DType::f32),
        dtype(pair ? DType::bf16 : s.inputs[0].dtype),
        format(stream_format(s.inputs[1].dtype).value_or(cuda::StreamFormat{16, 0, false})),
        blocks(cuda::stream_blocks(target.multiprocessors, format.bits, weights, n, k)),
        same_box(LinearAttrs::from(s.attrs).deterministic) {}
  const int weights;
  const int64_t n, k, x_stride;  // x_stride: of a copy of x
  const bool pair;               // float32 x: two bfloat16 rows a token
  const DType dtype;             // of the operands of the product
  const cuda::StreamFormat format;
  const int blocks;
  const bool same_box;  // for every number of tokens: so sums are made in one order

  int box(int64_t columns) const {
    return same_box ? cuda::kStreamTokens : cuda::stream_box(static_cast<int>(columns));
  }
  int64_t columns(int64_t tokens) const { return pair ? 2 * tokens : tokens; }
  size_t partial_bytes(int64_t tokens) const {
    const auto most = std::min<int64_t>(columns(tokens), cuda::kStreamTokens);
    return cuda::stream_partial_bytes(blocks, box(most));
  }
};

class StreamLinear final : public Kernel {
 public:
  StreamLinear(const OpSignature& s, const CudaTarget& target)
      : op_(s),
        use_(s, target),
        arrived_(std::vector<unsigned>(
            static_cast<size_t>(cuda::stream_tiles(use_.n, use_.weights)), 0)) {}

  void launch(const LaunchArgs& args, ExecContext& exec) const override {
    const cudaStream_t stream = static_cast<CudaExec&>(exec).stream;
    const cuda::FinishArg f = op_.finish(args);
    const cuda::RowsArg& y = f.y;
    if (y.rows == 0) return;
    const cuda::RowsArg x = prepare(args, args.workspace + use_.partial_bytes(y.rows), stream);
    cuda::StreamArg a = weights_of(args);
    a.bias = f.bias;
    a.bias_b = f.bias_b;
    a.activation = f.activation;
    a.partial = reinterpret_cast<float*>(args.workspace);
    const int64_t step = cuda::kStreamTokens / use_.columns(1);
    for (int64_t token = 0; token < y.rows; token += step) {
      a.columns = static_cast<int>(use_.columns(std::min(step, y.rows - token)));
      const cuda::RowsArg part = from_row(x, use_.columns(token));
      a.box = use_.box(a.columns);
      a.x = maps_.boxes(part.data, use_.dtype, a.columns, use_.k, part.stride, a.box);
      a.y = from_row(y, token);
      a.residual = from_row(f.residual, token);
      cuda::stream_linear(a, stream);
    }
  }

 private:
  // x as the copy engine takes it.
  cuda::RowsArg prepare(const LaunchArgs& args, std::byte* room, cudaStream_t stream) const {
    if (!use_.pair) return op_.x_in_vectors(args, room, stream);
    const cuda::RowsArg x = op_.in(0, args);
    cuda::split_rows(x, room, use_.x_stride, stream);
    return {room, use_.columns(x.rows), use_.k, use_.x_stride, use_.dtype};
  }
  cuda::StreamArg weights_of(const LaunchArgs& args) const {
    cuda::StreamArg a;
    a.format = use_.format;
    a.dtype = use_.dtype;
    a.weights = use_.weights;
    a.n = use_.n;
    a.k = use_.k;
    a.pair = use_.pair;
    a.blocks = use_.blocks;
    a.arrived = arrived_.writable();
    const void *w = args.in[1].data, *w_b = use_.weights == 2 ? args.in[2].data : w;
    if (use_.format.bits != 16) {
      a.packed = static_cast<const uint8_t*>(w);
      a.packed_b = static_cast<const uint8_t*>(w_b);
    } else if (use_.weights == 1) {
      a.w = maps_.rows(w, use_.dtype, use_.n, use_.k);
    } else {
      a.swapped = w_b < w;
      const int64_t apart = static_cast<const char*>(w_b) - static_cast<const char*>(w);
      a.w = maps_.paired_rows(a.swapped ? w_b : w, std::abs(apart), use_.dtype, use_.n, use_.k);
    }
    return a;
  }

  const BoundLinear op_;
  const Use use_;
  const DeviceArray<unsigned> arrived_;
  const TensorMaps maps_;
};

class StreamTactic final : public CudaTactic {
 public:
  StreamTactic(Op op, const CudaTarget& target)
      : CudaTactic(std::string(tokamak::name(op)) + ".stream", op, 90, target) {}
  size_t workspace_bytes(const OpSignature& s, int64_t tokens) const override {
    const Use u(s, target_);
    return u.partial_bytes(tokens) + bytes_of(u.dtype, u.columns(tokens) * u.x_stride);
  }
  std::string_view weight_layout(const OpSignature& s, int input) const override {
    return stream_format(s.inputs[static_cast<size_t>(input)].dtype) ? StreamLayout::kName
                                                                     : "plain";
  }
  // Every 64 columns read the weights again; their products are padded to 8, 16, 32 or 64. The
  // shares of the bandwidth and of the products' peak are measured ones.
  double estimate_us(const OpSignature& s, int64_t tokens) const override {
    const Use u(s, target_);
    const OpCost c = cost(s, tokens, tokens, 0), one = cost(s, 1, 1, 0);
    const int64_t columns = u.columns(tokens), passes = (columns + 63) / 64;
    const int64_t padded = passes > 1 ? passes * 64 : u.box(columns);
    const double bytes = c.bytes + static_cast<double>(passes - 1) * one.bytes;
    const double flops = one.flops * static_cast<double>(padded);
    const double share = u.format.bits == 16 ? 0.98 : u.format.bits == 8 ? 0.95 : 0.75;
    const double peak = u.format.bits == 16 ? 0.5 : 0.38;
    const double sums = 0.1 * static_cast<double>(columns);  // of blocks that share rows
    return 4 * static_cast<double>(passes) + (u.pair ? 2 : 0) + sums +
           std::max(bytes / (share * target_.read_gb_s), flops / (peak * target_.half_gflop_s)) *
               1e-3;
  }
  std::unique_ptr<Kernel> bind(const OpSignature& s) const override {
    return std::make_unique<StreamLinear>(s, target_);
  }

 protected:
  bool fits(const OpSignature& s) const override {
    const ValueType &x = s.inputs[0], &w = s.inputs[1];
    if (target_.sm != 90) return false;  // wgmma is sm_90a's alone
    if (w.shape[0].size == 0 || w.shape[1].size == 0) return false;
    const int64_t n_step = op() == Op::linear_glu ? 8 : 1;
    const bool halves = is_half(w.dtype) && w.shape[1].size % 8 == 0 &&
                        w.shape[0].size % n_step == 0 && x.dtype == w.dtype;
    if (!halves && !stream_format(w.dtype)) return false;
    return are_linear_operands(s);
  }
};

}  // namespace

void add_stream_linear(CudaRegistry& r) {
  r.add_layout<StreamLayout>();
  for (const Op op : {Op::linear, Op::linear_glu}) r.add<StreamTactic>(op, r.target);
}

}  // namespace tokamak
