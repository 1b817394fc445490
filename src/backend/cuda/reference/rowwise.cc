#include "backend/cuda/kernels/reference.h"
#include "backend/cuda/kernels/vectors.h"
#include "backend/cuda/map_kind.h"
#include "backend/cuda/reference/reference.h"
#include "ops/linear.h"

namespace tokamak {
namespace {

cudaStream_t stream_of(ExecContext& exec) { return static_cast<CudaExec&>(exec).stream; }

class ReduceKernel final : public Kernel {
 public:
  explicit ReduceKernel(const OpSignature& s) : s_(s) {
    const auto kind = s.attrs.get<std::string>("kind");
    kind_ = kind == "max"    ? cuda::ReduceKind::max
            : kind == "mean" ? cuda::ReduceKind::mean
                             : cuda::ReduceKind::sum;
  }
  void launch(const LaunchArgs& args, ExecContext& exec) const override {
    cuda::reduce(kind_, rows_arg(s_.inputs[0], args.in[0], *args.step),
                 rows_arg(s_.outputs[0], args.out[0], *args.step), stream_of(exec));
  }

 private:
  const OpSignature s_;
  cuda::ReduceKind kind_;
};

template <auto kRun>
class SoftmaxKernel final : public Kernel {
 public:
  explicit SoftmaxKernel(const OpSignature& s) : s_(s) {}
  void launch(const LaunchArgs& args, ExecContext& exec) const override {
    kRun(rows_arg(s_.inputs[0], args.in[0], *args.step),
         rows_arg(s_.outputs[0], args.out[0], *args.step), stream_of(exec));
  }

 private:
  const OpSignature s_;
};

template <auto kRun>
class NormKernel final : public Kernel {
 public:
  explicit NormKernel(const OpSignature& s)
      : s_(s),
        adds_(s.op == Op::add_rms_norm || s.op == Op::add_layer_norm),
        centers_(s.op == Op::layer_norm || s.op == Op::add_layer_norm),
        eps_(static_cast<float>(s.attrs.get<double>("eps"))) {}
  void launch(const LaunchArgs& args, ExecContext& exec) const override {
    const size_t w = adds_ ? 2 : 1;
    const auto in = [&](size_t i) { return rows_arg(s_.inputs[i], args.in[i], *args.step); };
    cuda::NormArg n;
    n.x = in(0);
    n.weight = in(w);
    if (s_.inputs.size() > w + 1) n.bias = in(w + 1);
    n.y = rows_arg(s_.outputs[0], args.out[0], *args.step);
    if (adds_) {
      n.residual = in(1);
      n.sum = rows_arg(s_.outputs[1], args.out[1], *args.step);
    }
    n.centered = centers_;
    n.eps = eps_;
    kRun(n, stream_of(exec));
  }

 private:
  const OpSignature s_;
  const bool adds_, centers_;
  const float eps_;
};

cuda::WeightRef weight_ref(const ValueType& t, const Operand& o) {
  return {o.data, t.shape[0].size, t.shape[1].size, t.dtype};
}

template <auto kRun>
class EmbeddingKernel final : public Kernel {
 public:
  explicit EmbeddingKernel(const OpSignature& s)
      : s_(s), scale_(static_cast<float>(s.attrs.get_or<double>("scale", 1.0))) {}
  void launch(const LaunchArgs& args, ExecContext& exec) const override {
    kRun(args.in[0].as<const int32_t>(), weight_ref(s_.inputs[1], args.in[1]), scale_,
         rows_arg(s_.outputs[0], args.out[0], *args.step), stream_of(exec));
  }

 private:
  const OpSignature s_;
  const float scale_;
};

class LinearKernel final : public Kernel {
 public:
  explicit LinearKernel(const OpSignature& s)
      : s_(s),
        attrs_(LinearAttrs::from(s.attrs)),
        weights_(s.op == Op::linear_glu ? 2 : 1),
        activation_(map_kind(attrs_.activation)) {}
  void launch(const LaunchArgs& args, ExecContext& exec) const override {
    const auto in = [&](size_t i) { return rows_arg(s_.inputs[i], args.in[i], *args.step); };
    cuda::LinearArg l;
    l.x = in(0);
    l.w = weight_ref(s_.inputs[1], args.in[1]);
    if (weights_ == 2) l.w_b = weight_ref(s_.inputs[2], args.in[2]);
    if (attrs_.has_bias) l.bias = in(1 + weights_);
    if (attrs_.has_bias && weights_ == 2) l.bias_b = in(2 + weights_);
    if (attrs_.has_residual) l.residual = in(s_.inputs.size() - 1);
    l.y = rows_arg(s_.outputs[0], args.out[0], *args.step);
    l.activation = activation_;
    cuda::linear(l, stream_of(exec));
  }

 private:
  const OpSignature s_;
  const LinearAttrs attrs_;
  const size_t weights_;
  const cuda::MapKind activation_;
};

bool fits(const OpSignature& s) {
  for (const ValueType& t : s.inputs)
    if (!is_cuda_activation(t.dtype)) return false;
  return true;
}
bool fits_weights(const OpSignature& s) {
  for (const ValueType& t : s.inputs) {
    const bool matrix = t.is_weight && t.shape.size() == 2;
    if (matrix ? t.dtype == DType::f8e4m3 || t.dtype == DType::f8e5m2
               : !is_cuda_activation(t.dtype) && t.dtype != DType::i32)
      return false;
  }
  return is_cuda_activation(s.outputs[0].dtype);
}

}  // namespace

bool fits_vectors(const OpSignature& s) {
  const auto has_vectors = [](const ValueType& t) {
    return is_cuda_activation(t.dtype) && (t.shape.empty() || t.shape.back().fixed()) &&
           cuda_width(t) % 8 == 0;
  };
  for (const ValueType& t : s.inputs)
    if (t.dtype != DType::i32 && !(s.op == Op::binary && cuda_width(t) == 1) && !has_vectors(t))
      return false;
  return has_vectors(s.outputs[0]);
}

void add_cuda_reference_rowwise(CudaRegistry& r) {
  constexpr auto kVectors = CudaSimpleTactic::Kind::vectors;
  r.add<CudaSimpleTactic>(Op::reduce, r.target, fits, bind_cuda<ReduceKernel>);
  r.add<CudaSimpleTactic>(Op::softmax, r.target, fits, bind_cuda<SoftmaxKernel<cuda::softmax>>);
  r.add<CudaSimpleTactic>(Op::softmax, r.target, fits_vectors,
                          bind_cuda<SoftmaxKernel<cuda::softmax_vectors>>, kVectors);
  for (const Op op : {Op::rms_norm, Op::add_rms_norm, Op::layer_norm, Op::add_layer_norm}) {
    r.add<CudaSimpleTactic>(op, r.target, fits, bind_cuda<NormKernel<cuda::norm>>);
    r.add<CudaSimpleTactic>(op, r.target, fits_vectors, bind_cuda<NormKernel<cuda::norm_vectors>>,
                            kVectors);
  }
  r.add<CudaSimpleTactic>(Op::embedding, r.target, fits_weights,
                          bind_cuda<EmbeddingKernel<cuda::embedding>>);
  r.add<CudaSimpleTactic>(Op::embedding, r.target, fits_vectors,
                          bind_cuda<EmbeddingKernel<cuda::embedding_vectors>>, kVectors);
  for (const Op op : {Op::linear, Op::linear_glu})
    r.add<CudaSimpleTactic>(op, r.target, fits_weights, bind_cuda<LinearKernel>);
}

}  // namespace tokamak
