#include <array>

#include "backend/cuda/kernels/reference.h"
#include "backend/cuda/kernels/vectors.h"
#include "backend/cuda/map_kind.h"
#include "backend/cuda/reference/reference.h"
#include "backend/cuda/row_map.h"
#include "ops/activation.h"

namespace tokamak {
namespace {

using cuda::MapKind;
using cuda::PairKind;

cudaStream_t stream_of(ExecContext& exec) { return static_cast<CudaExec&>(exec).stream; }

PairKind pair_kind(const std::string& kind) {
  constexpr std::array<std::string_view, 7> kNames = {"add", "sub", "mul", "div",
                                                      "pow", "max", "min"};
  for (size_t i = 0; i < kNames.size(); ++i)
    if (kind == kNames[i]) return static_cast<PairKind>(i);
  fail("binary: the CUDA backend knows no kind '{}'", kind);
}

class ConstantKernel final : public Kernel {
 public:
  explicit ConstantKernel(const OpSignature& s)
      : s_(s), value_(static_cast<float>(s.attrs.get<double>("value"))) {}
  void launch(const LaunchArgs& args, ExecContext& exec) const override {
    cuda::fill(rows_arg(s_.outputs[0], args.out[0], *args.step), value_, stream_of(exec));
  }

 private:
  const OpSignature s_;
  const float value_;
};

template <auto kRun>
class MapKernel final : public Kernel {
 public:
  explicit MapKernel(const OpSignature& s) : s_(s) {
    if (s.op == Op::unary) kind_ = map_kind(s.attrs.get<std::string>("kind"));
    if (s.op == Op::softcap) {
      kind_ = MapKind::softcap;
      cap_ = static_cast<float>(s.attrs.get<double>("cap"));
    }
  }
  void launch(const LaunchArgs& args, ExecContext& exec) const override {
    kRun(kind_, cap_, rows_arg(s_.inputs[0], args.in[0], *args.step),
         rows_arg(s_.outputs[0], args.out[0], *args.step), stream_of(exec));
  }

 private:
  const OpSignature s_;
  MapKind kind_ = MapKind::copy;
  float cap_ = 0;
};

template <auto kRun>
class PairKernel final : public Kernel {
 public:
  explicit PairKernel(const OpSignature& s)
      : s_(s), kind_(pair_kind(s.attrs.get<std::string>("kind"))) {}
  void launch(const LaunchArgs& args, ExecContext& exec) const override {
    const StepContext& step = *args.step;
    const SymShape& result = s_.outputs[0].shape;
    kRun(kind_, rows_arg(s_.inputs[0], args.in[0], step), row_map(s_.inputs[0].shape, result, step),
         rows_arg(s_.inputs[1], args.in[1], step), row_map(s_.inputs[1].shape, result, step),
         rows_arg(s_.outputs[0], args.out[0], step), stream_of(exec));
  }

 private:
  const OpSignature s_;
  const PairKind kind_;
};

template <auto kRun>
class GluKernel final : public Kernel {
 public:
  explicit GluKernel(const OpSignature& s)
      : s_(s), activation_(map_kind(parse_activation(s.attrs.get<std::string>("activation")))) {}
  void launch(const LaunchArgs& args, ExecContext& exec) const override {
    kRun(activation_, rows_arg(s_.inputs[0], args.in[0], *args.step),
         rows_arg(s_.inputs[1], args.in[1], *args.step),
         rows_arg(s_.outputs[0], args.out[0], *args.step), stream_of(exec));
  }

 private:
  const OpSignature s_;
  const MapKind activation_;
};

bool is_scalar(DType t) { return t < DType::f8e4m3; }

bool fits(const OpSignature& s) {
  for (const ValueType& t : s.inputs)
    if (!is_scalar(t.dtype) || !(t.shape.empty() || t.shape.back().fixed())) return false;
  return is_scalar(s.outputs[0].dtype) && s.outputs[0].shape.size() <= cuda::RowMap::kMaxDims + 1;
}

}  // namespace

// The result's last dimension is not a row dimension.
cuda::RowMap row_map(const SymShape& from, const SymShape& result, const StepContext& step) {
  cuda::RowMap m;
  int64_t stride = 1;
  for (size_t back = 2; back <= result.size(); ++back) {
    const int64_t size = result[result.size() - back].resolve(step.tokens, step.logit_rows);
    const bool has = back <= from.size() && from[from.size() - back] != Dim(1);
    TOKAMAK_ASSERT(m.dims < cuda::RowMap::kMaxDims);
    m.size[m.dims] = std::max<int64_t>(size, 1);
    m.step[m.dims++] = has ? stride : 0;
    if (has) stride *= size;
  }
  return m;
}

MapKind map_kind(const std::string& kind) {
  constexpr std::array<std::string_view, 14> kNames = {
      "neg",  "abs", "exp",     "log",  "sqrt", "rsqrt",     "square",
      "tanh", "erf", "sigmoid", "silu", "gelu", "gelu_tanh", "relu"};
  for (size_t i = 0; i < kNames.size(); ++i)
    if (kind == kNames[i]) return static_cast<MapKind>(i);
  fail("unary: the CUDA backend knows no kind '{}'", kind);
}

MapKind map_kind(Activation a) {
  return a == Activation::none ? MapKind::copy : map_kind(std::string(name(a)));
}

void add_cuda_reference_elementwise(CudaRegistry& r) {
  r.add<CudaSimpleTactic>(Op::constant, r.target, fits, bind_cuda<ConstantKernel>);
  const auto add = [&](Op op, CudaSimpleTactic::Bind reference, CudaSimpleTactic::Bind vectors) {
    r.add<CudaSimpleTactic>(op, r.target, fits, reference);
    r.add<CudaSimpleTactic>(op, r.target, fits_vectors, vectors, CudaSimpleTactic::Kind::vectors);
  };
  for (const Op op : {Op::unary, Op::cast, Op::softcap})
    add(op, bind_cuda<MapKernel<cuda::map>>, bind_cuda<MapKernel<cuda::map_vectors>>);
  add(Op::binary, bind_cuda<PairKernel<cuda::pair>>, bind_cuda<PairKernel<cuda::pair_vectors>>);
  add(Op::glu, bind_cuda<GluKernel<cuda::glu>>, bind_cuda<GluKernel<cuda::glu_vectors>>);
}

}  // namespace tokamak
