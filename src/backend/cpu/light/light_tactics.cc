#include "backend/cpu/light/light_tactics.h"

#include <cmath>
#include <cstring>
#include <optional>

#include "backend/cpu/light/light_tactic.h"
#include "backend/rope_tables.h"
#include "ops/activation.h"

namespace tokamak {
namespace {

constexpr std::string_view kMapNames[kMapKinds] = {
    "neg",     "abs",  "exp",  "sqrt",      "rsqrt", "square", "tanh", "erf",
    "sigmoid", "silu", "gelu", "gelu_tanh", "relu",  "log",    "none"};
constexpr std::string_view kPairNames[kPairKinds] = {"add", "sub", "mul", "div",
                                                     "max", "min", "pow"};

template <size_t N>
int index_of(const std::string_view (&names)[N], const std::string& name) {
  for (size_t i = 0; i < N; ++i)
    if (names[i] == name) return static_cast<int>(i);
  return -1;
}

class MapKernel final : public Kernel {
 public:
  MapKernel(const OpSignature& s, const LightKernels& k) : s_(s), k_(k) {
    if (s.op == Op::softcap)
      cap_ = static_cast<float>(s.attrs.get<double>("cap"));
    else
      map_ = k.map[index_of(kMapNames, s.attrs.get<std::string>("kind"))];
  }
  void launch(const LaunchArgs& args, ExecContext& exec) const override {
    const FloatRows x = float_rows(s_.inputs[0], args.in[0]);
    const FloatRows y = float_rows(s_.outputs[0], args.out[0]);
    for_pieces(row_count(s_.outputs[0], *args.step), width_of(s_.outputs[0]),
               static_cast<CpuExec&>(exec), [&](int64_t r, int64_t c, int64_t n) {
                 if (map_ != nullptr)
                   map_(x.row(r) + c, y.row(r) + c, n);
                 else
                   k_.softcap(x.row(r) + c, y.row(r) + c, n, cap_);
               });
  }

 private:
  const OpSignature s_;
  const LightKernels& k_;
  LightKernels::Map map_ = nullptr;
  float cap_ = 0;
};

class PairKernel final : public Kernel {
 public:
  PairKernel(const OpSignature& s, const LightKernels& k)
      : s_(s), pair_(k.pair[index_of(kPairNames, s.attrs.get<std::string>("kind"))]) {}
  void launch(const LaunchArgs& args, ExecContext& exec) const override {
    const FloatRows a = float_rows(s_.inputs[0], args.in[0]);
    const FloatRows b = float_rows(s_.inputs[1], args.in[1]);
    const FloatRows y = float_rows(s_.outputs[0], args.out[0]);
    const int a_step = width_of(s_.inputs[0]) != 1, b_step = width_of(s_.inputs[1]) != 1;
    const SymShape& shape = s_.outputs[0].shape;
    for_pieces(row_count(s_.outputs[0], *args.step), width_of(s_.outputs[0]),
               static_cast<CpuExec&>(exec), [&](int64_t r, int64_t c, int64_t n) {
                 const int64_t ra = broadcast_row(s_.inputs[0].shape, shape, r, *args.step);
                 const int64_t rb = broadcast_row(s_.inputs[1].shape, shape, r, *args.step);
                 pair_(a.row(ra) + c * a_step, a_step, b.row(rb) + c * b_step, b_step, y.row(r) + c,
                       n);
               });
  }

 private:
  const OpSignature s_;
  const LightKernels::Pair pair_;
};

class GluKernel final : public Kernel {
 public:
  GluKernel(const OpSignature& s, const LightKernels& k)
      : s_(s), glu_(k.glu[index_of(kMapNames, activation_of(s))]) {}
  static std::string activation_of(const OpSignature& s) {
    return std::string(name(parse_activation(s.attrs.get<std::string>("activation"))));
  }
  void launch(const LaunchArgs& args, ExecContext& exec) const override {
    const FloatRows a = float_rows(s_.inputs[0], args.in[0]);
    const FloatRows b = float_rows(s_.inputs[1], args.in[1]);
    const FloatRows y = float_rows(s_.outputs[0], args.out[0]);
    for_pieces(row_count(s_.outputs[0], *args.step), width_of(s_.outputs[0]),
               static_cast<CpuExec&>(exec), [&](int64_t r, int64_t c, int64_t n) {
                 glu_(a.row(r) + c, b.row(r) + c, y.row(r) + c, n);
               });
  }

 private:
  const OpSignature s_;
  const LightKernels::Glu glu_;
};

// A weight vector as float32: in place, or widened into scratch.
const float* widened(const LightKernels& k, const ValueType& t, const Operand& o, float* scratch) {
  const int64_t n = width_of(t);
  if (t.dtype == DType::f32) return o.as<float>();
  (t.dtype == DType::f16 ? k.widen_f16 : k.widen_bf16)(o.data, scratch, n);
  return scratch;
}

class NormKernel final : public Kernel {
 public:
  NormKernel(const OpSignature& s, const LightKernels& k)
      : s_(s),
        k_(k),
        adds_(s.op == Op::add_rms_norm || s.op == Op::add_layer_norm),
        centers_(s.op == Op::layer_norm || s.op == Op::add_layer_norm),
        weight_(adds_ ? 2 : 1),
        eps_(static_cast<float>(s.attrs.get<double>("eps"))) {}

  void launch(const LaunchArgs& args, ExecContext& exec) const override {
    const auto& e = static_cast<CpuExec&>(exec);
    const WorkRange mine = share(row_count(s_.inputs[0], *args.step), e.worker, e.workers);
    if (mine.begin == mine.end) return;
    const int64_t n = width_of(s_.inputs[0]);
    float* scratch = reinterpret_cast<float*>(args.workspace) + e.worker * 2 * n;
    const bool has_bias = s_.inputs.size() > weight_ + 1;
    NormArgs a{};
    a.n = n, a.eps = eps_, a.centers = centers_;
    a.weight = widened(k_, s_.inputs[weight_], args.in[weight_], scratch);
    if (has_bias) a.bias = widened(k_, s_.inputs[weight_ + 1], args.in[weight_ + 1], scratch + n);
    for (int64_t r = mine.begin; r < mine.end; ++r) {
      a.x = float_rows(s_.inputs[0], args.in[0]).row(r);
      a.y = float_rows(s_.outputs[0], args.out[0]).row(r);
      if (adds_) {
        a.residual = float_rows(s_.inputs[1], args.in[1]).row(r);
        a.sum = float_rows(s_.outputs[1], args.out[1]).row(r);
      }
      k_.norm(a);
    }
  }

 private:
  const OpSignature s_;
  const LightKernels& k_;
  const bool adds_, centers_;
  const size_t weight_;
  const float eps_;
};

class RowKernel final : public Kernel {  // softmax, reduce
 public:
  RowKernel(const OpSignature& s, const LightKernels& k) : s_(s), k_(k) {
    if (s.op == Op::reduce) kind_ = s.attrs.get<std::string>("kind");
  }
  void launch(const LaunchArgs& args, ExecContext& exec) const override {
    const auto& e = static_cast<CpuExec&>(exec);
    const FloatRows x = float_rows(s_.inputs[0], args.in[0]);
    const FloatRows y = float_rows(s_.outputs[0], args.out[0]);
    const int64_t n = width_of(s_.inputs[0]);
    const WorkRange mine = share(row_count(s_.inputs[0], *args.step), e.worker, e.workers);
    for (int64_t r = mine.begin; r < mine.end; ++r) {
      if (kind_.empty())
        k_.softmax(x.row(r), y.row(r), n);
      else if (kind_ == "max")
        *y.row(r) = k_.max(x.row(r), n);
      else
        *y.row(r) = k_.sum(x.row(r), n) / (kind_ == "mean" ? static_cast<float>(n) : 1.0f);
    }
  }

 private:
  const OpSignature s_;
  const LightKernels& k_;
  std::string kind_;  // empty: softmax
};

class RopeKernel final : public Kernel {
 public:
  RopeKernel(const OpSignature& s, const LightKernels& k)
      : s_(s), k_(k), attrs_(RopeAttrs::from(s.attrs)), tables_(attrs_) {}

  void launch(const LaunchArgs& args, ExecContext& exec) const override {
    const auto& e = static_cast<CpuExec&>(exec);
    const StepContext& step = *args.step;
    float* cos = reinterpret_cast<float*>(args.workspace) + e.worker * attrs_.rotary_dim;
    float* sin = cos + attrs_.rotary_dim / 2;
    const WorkRange mine = share(step.tokens, e.worker, e.workers);
    RopeTable scratch;
    int32_t seq = 0;
    const RopeTable* table = nullptr;
    for (int64_t t = mine.begin; t < mine.end; ++t) {
      const bool moves = t >= step.query_begin[seq + 1];
      while (t >= step.query_begin[seq + 1]) ++seq;
      if (moves || table == nullptr) table = &tables_.at(step.context_len[seq], scratch);
      set_angles(*table, args.in[1].as<const int32_t>()[t], cos, sin);
      k_.rope(float_rows(s_.inputs[0], args.in[0]).row(t),
              float_rows(s_.outputs[0], args.out[0]).row(t),
              width_of(s_.inputs[0]) / attrs_.head_dim, attrs_.head_dim, attrs_.rotary_dim,
              attrs_.neox, cos, sin);
    }
  }

 private:
  void set_angles(const RopeTable& table, int32_t position, float* cos, float* sin) const {
    for (int64_t i = 0; i < attrs_.rotary_dim / 2; ++i) {
      const float angle = static_cast<float>(position) * table.inv_freq[static_cast<size_t>(i)];
      cos[i] = std::cos(angle) * table.magnitude;
      sin[i] = std::sin(angle) * table.magnitude;
    }
  }

  const OpSignature s_;
  const LightKernels& k_;
  const RopeAttrs attrs_;
  const RopeTables tables_;
};

class EmbeddingKernel final : public Kernel {
 public:
  EmbeddingKernel(const OpSignature& s, const LightKernels& k)
      : s_(s), k_(k), scale_(static_cast<float>(s.attrs.get_or<double>("scale", 1.0))) {}
  void launch(const LaunchArgs& args, ExecContext& exec) const override {
    const auto& e = static_cast<CpuExec&>(exec);
    const FloatRows y = float_rows(s_.outputs[0], args.out[0]);
    const DType dtype = s_.inputs[1].dtype;
    const int64_t n = width_of(s_.outputs[0]);
    const int64_t row_bytes = static_cast<int64_t>(tokamak::row_bytes(dtype, n));
    const auto* ids = args.in[0].as<const int32_t>();
    const WorkRange mine = share(args.step->tokens, e.worker, e.workers);
    for (int64_t t = mine.begin; t < mine.end; ++t) {
      const std::byte* row = args.in[1].data + ids[t] * row_bytes;
      if (dtype == DType::f16)
        k_.widen_f16(row, y.row(t), n);
      else if (dtype == DType::bf16)
        k_.widen_bf16(row, y.row(t), n);
      else
        load_row(dtype, row, n, y.row(t));
      if (scale_ != 1.0f) k_.scale(y.row(t), n, scale_);
    }
  }

 private:
  const OpSignature s_;
  const LightKernels& k_;
  const float scale_;
};

bool fits_map(const OpSignature& s) {
  if (s.op == Op::unary && index_of(kMapNames, s.attrs.get<std::string>("kind")) < 0) return false;
  return all_f32(s);
}
bool fits_pair(const OpSignature& s) {
  return all_f32(s) && index_of(kPairNames, s.attrs.get<std::string>("kind")) >= 0;
}
bool fits_norm(const OpSignature& s) {
  const size_t activations = s.outputs.size();  // x, and the residual
  for (size_t i = 0; i < s.inputs.size(); ++i)
    if (i < activations ? s.inputs[i].dtype != DType::f32 : !is_activation_dtype(s.inputs[i].dtype))
      return false;
  return true;
}
bool fits_rope(const OpSignature& s) { return s.inputs[0].dtype == DType::f32; }
bool fits_embedding(const OpSignature& s) { return s.outputs[0].dtype == DType::f32; }

template <typename K>
std::unique_ptr<Kernel> bind(const OpSignature& s, const LightKernels& k) {
  return std::make_unique<K>(s, k);
}

int64_t norm_scratch(const OpSignature& s) { return 2 * width_of(s.inputs[0]); }
int64_t rope_scratch(const OpSignature& s) { return RopeAttrs::from(s.attrs).rotary_dim; }

}  // namespace

void add_light_tactics(CpuRegistry& r) {
  const auto add = [&r](Op op, LightTactic::Fits fits, LightTactic::Bind bind,
                        LightTactic::Scratch scratch = nullptr) {
    const std::string n(name(op));
    r.add<LightTactic>(n + ".avx2", op, Isa::avx2, r.target, light_kernels_avx2(), fits, bind,
                       scratch);
    r.add<LightTactic>(n + ".avx512", op, Isa::avx512, r.target, light_kernels_avx512(), fits, bind,
                       scratch);
  };
  add(Op::unary, fits_map, bind<MapKernel>);
  add(Op::softcap, fits_map, bind<MapKernel>);
  add(Op::binary, fits_pair, bind<PairKernel>);
  add(Op::glu, all_f32, bind<GluKernel>);
  for (const Op op : {Op::rms_norm, Op::add_rms_norm, Op::layer_norm, Op::add_layer_norm})
    add(op, fits_norm, bind<NormKernel>, norm_scratch);
  add(Op::softmax, all_f32, bind<RowKernel>);
  add(Op::reduce, all_f32, bind<RowKernel>);
  add(Op::rope, fits_rope, bind<RopeKernel>, rope_scratch);
  add(Op::embedding, fits_embedding, bind<EmbeddingKernel>);
}

}  // namespace tokamak
