#include "backend/cuda/tiles/linear.h"

#include <algorithm>
#include <cmath>

#include "backend/cuda/fp8/codes_linear.h"
#include "backend/cuda/kernels/tile_linear.h"
#include "backend/cuda/stream/tensor_map.h"

namespace tokamak {
namespace {

int64_t padded(int64_t k) { return (k + 7) / 8 * 8; }

class TileLinear final : public Kernel {
 public:
  TileLinear(const OpSignature& s, const CudaTarget& target)
      : op_(s), codes_(s.inputs[1].dtype == DType::f8_row), target_(target) {}

  void launch(const LaunchArgs& args, ExecContext& exec) const override {
    const cudaStream_t stream = static_cast<CudaExec&>(exec).stream;
    const cuda::FinishArg f = op_.finish(args);
    if (f.y.rows == 0) return;
    cuda::TileArg a;
    a.glu = op_.weights == 2;
    a.dtype = codes_ ? DType::f8e4m3 : op_.s.inputs[0].dtype;
    a.tokens = f.y.rows;
    a.n = op_.n;
    a.k = op_.k;
    a.activation = f.activation;
    a.bias = f.bias;
    a.residual = f.residual;
    a.y = f.y;
    a.vectors = in_vectors(a.bias) && in_vectors(a.residual) && in_vectors(a.y);
    a.multiprocessors = target_.multiprocessors;
    const ReadyX ready = op_.ready_x(args, codes_, stream);
    a.row_scales = ready.scales;
    a.x = maps_.boxes(ready.x.data, ready.x.dtype, a.tokens, op_.k, ready.x.stride, cuda::kTileBox);
    a.w = weight(args.in[1].data);
    a.w_b = a.glu ? weight(args.in[2].data) : a.w;
    if (codes_) a.scales = op_.scales_of(args.in[1].data);
    if (codes_ && a.glu) a.scales_b = op_.scales_of(args.in[2].data);
    cuda::tile_linear(a, stream);
  }

 private:
  CUtensorMap weight(const std::byte* data) const {
    const DType t = codes_ ? DType::u8 : op_.s.inputs[1].dtype;
    return maps_.boxes(data, t, op_.n, op_.k, op_.k, cuda::kTileBox);
  }

  const CodesLinear op_;
  const bool codes_;
  const CudaTarget target_;
  const TensorMaps maps_;
};

class TileTactic final : public CudaTactic {
 public:
  TileTactic(Op op, const CudaTarget& target, bool codes)
      : CudaTactic(std::string(tokamak::name(op)) + (codes ? ".f8" : "") + ".tiles", op, 90,
                   target),
        codes_(codes) {}

  size_t workspace_bytes(const OpSignature& s, int64_t tokens) const override {
    const int64_t k = s.inputs[1].shape[1].size;
    if (codes_) return CodesPlace(0, tokens, k).end;
    return bytes_of(s.inputs[0].dtype, tokens * padded(k));
  }
  std::string_view weight_layout(const OpSignature& s, int input) const override {
    return codes_ ? codes_linear_layout(s, input) : "plain";
  }
  // Whole rounds of tiles; the share of the products' peak is a measured one.
  double estimate_us(const OpSignature& s, int64_t tokens) const override {
    const auto up = [](int64_t a, int64_t b) { return static_cast<double>((a + b - 1) / b); };
    const int64_t n = s.inputs[1].shape[0].size, k = s.inputs[1].shape[1].size;
    const double tiles = up(tokens, 256) * up(n, op() == Op::linear_glu ? 128 : 256);
    const double rounds = std::ceil(tiles / (target_.multiprocessors / 2));
    const double flops = 2.0 * 128 * 256 * static_cast<double>(k) * target_.multiprocessors;
    const double rate = (codes_ ? 1.8 : 0.93) * target_.half_gflop_s;
    return 6 + (codes_ ? 3 : 0) + rounds * (2 + flops / rate * 1e-3);
  }
  std::unique_ptr<Kernel> bind(const OpSignature& s) const override {
    return std::make_unique<TileLinear>(s, target_);
  }

 protected:
  bool fits(const OpSignature& s) const override {
    const ValueType &x = s.inputs[0], &w = s.inputs[1];
    const LinearAttrs a = LinearAttrs::from(s.attrs);
    const bool glu = op() == Op::linear_glu;
    if (target_.sm != 90 || a.deterministic) return false;  // wgmma is sm_90a's alone
    if (glu ? a.has_bias ||
                  (a.activation != Activation::silu && a.activation != Activation::gelu_tanh)
            : a.activation != Activation::none)
      return false;
    if (codes_) return codes_linear_fits(target_, s, 8);
    if (!is_half(w.dtype) || x.dtype != w.dtype) return false;
    if (w.shape[0].size % 8 != 0 || w.shape[1].size % 8 != 0) return false;
    return are_linear_operands(s);
  }

 private:
  const bool codes_;
};

}  // namespace

void add_tile_linear(CudaRegistry& r) {
  for (const Op op : {Op::linear, Op::linear_glu})
    for (const bool codes : {false, true}) r.add<TileTactic>(op, r.target, codes);
}

}  // namespace tokamak
