#include "backend/cuda/chain/source.h"

#include <bit>

#include "base/error.h"

namespace tokamak {
namespace {

int64_t width_of(const ValueType& t) { return t.shape.empty() ? 1 : t.shape.back().size; }

constexpr std::string_view kPrelude = R"(typedef long long i64;
typedef unsigned short u16;
struct Arg { void* data[12]; i64 stride[12]; i64 rows; };
struct f32 { float v; };
struct f16 { u16 v; };
struct bf16 { u16 v; };
__device__ inline float wide(f32 x) { return x.v; }
__device__ inline float wide(f16 x) { float f; asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(x.v)); return f; }
__device__ inline float wide(bf16 x) { return __uint_as_float((unsigned)x.v << 16); }
__device__ inline void narrow(float f, f32& x) { x.v = f; }
__device__ inline void narrow(float f, f16& x) { asm("cvt.rn.f16.f32 %0, %1;" : "=h"(x.v) : "f"(f)); }
__device__ inline void narrow(float f, bf16& x) { asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(x.v) : "f"(f)); }
template <typename T, int V> struct alignas(V == 8 ? 16 : sizeof(T)) Pack { T v[V]; };
template <typename T, int V> __device__ inline void load(const void* data, i64 at, float (&f)[V]) {
  const Pack<T, V> p = *(const Pack<T, V>*)((const T*)data + at);
#pragma unroll
  for (int e = 0; e < V; ++e) f[e] = wide(p.v[e]);
}
template <typename T> __device__ inline float one(const void* data, i64 at) { return wide(((const T*)data)[at]); }
template <typename T, int V> __device__ inline void store(void* data, i64 at, const float (&f)[V]) {
  Pack<T, V> p;
#pragma unroll
  for (int e = 0; e < V; ++e) narrow(f[e], p.v[e]);
  *(Pack<T, V>*)((T*)data + at) = p;
}
__device__ inline float neg(float x) { return -x; }
__device__ inline float square(float x) { return x * x; }
__device__ inline float reciprocal_root(float x) { return 1.f / sqrtf(x); }
__device__ inline float sigmoid(float x) { return __fdividef(1.f, 1.f + expf(-x)); }
__device__ inline float silu(float x) { return __fdividef(x, 1.f + expf(-x)); }
__device__ inline float gelu(float x) { return 0.5f * x * erfcf(-x * 0.70710678118654752f); }
__device__ inline float gelu_tanh(float x) {
  return 0.5f * x * (1.f + tanhf(0.79788456080286536f * (x + 0.044715f * x * x * x)));
}
__device__ inline float relu(float x) { return x < 0.f ? 0.f : x; }
__device__ inline float round_f16(float x) { f16 h; narrow(x, h); return wide(h); }
__device__ inline float round_bf16(float x) { bf16 h; narrow(x, h); return wide(h); }
__device__ inline float larger(float a, float b) { return a > b || a != a ? a : b; }
__device__ inline float smaller(float a, float b) { return a < b || a != a ? a : b; }
)";

const char* function_of(ChainOp op) {
  switch (op) {
    case ChainOp::neg:
      return "neg";
    case ChainOp::abs:
      return "fabsf";
    case ChainOp::exp:
      return "expf";
    case ChainOp::log:
      return "logf";
    case ChainOp::sqrt:
      return "sqrtf";
    case ChainOp::rsqrt:
      return "reciprocal_root";
    case ChainOp::square:
      return "square";
    case ChainOp::tanh:
      return "tanhf";
    case ChainOp::erf:
      return "erff";
    case ChainOp::sigmoid:
      return "sigmoid";
    case ChainOp::silu:
      return "silu";
    case ChainOp::gelu:
      return "gelu";
    case ChainOp::gelu_tanh:
      return "gelu_tanh";
    case ChainOp::relu:
      return "relu";
    case ChainOp::round_f16:
      return "round_f16";
    case ChainOp::round_bf16:
      return "round_bf16";
    case ChainOp::pow:
      return "powf";
    case ChainOp::max:
      return "larger";
    case ChainOp::min:
      return "smaller";
    default:
      break;
  }
  TOKAMAK_ASSERT(false);
}

// The row of an operand that meets row r of the result. Only the first size is symbolic.
std::string row_of(const SymShape& from, const SymShape& result) {
  std::string row;
  int64_t below = 1, stride = 1;  // rows of the result and of the operand inside this dimension
  bool own = true;                // so far the operand has every dimension that the result has
  for (size_t back = 2; back <= result.size(); ++back) {
    const Dim& size = result[result.size() - back];
    const bool has = back <= from.size() && from[from.size() - back] != Dim(1);
    own = own && (has || size == Dim(1));
    if (has) {
      const std::string over = below == 1 ? "r" : fmt::format("r / {}", below);
      const std::string at = back == result.size() ? over : fmt::format("{} % {}", over, size.size);
      row += fmt::format("{}({}) * {}", row.empty() ? "" : " + ", at, stride);
      if (size.fixed()) stride *= size.size;
    }
    if (size.fixed()) below *= size.size;
  }
  if (row.empty()) return "0";
  return own ? "r" : row;
}

class Writer {
 public:
  Writer(const OpSignature& s, int sm)
      : s_(s), sm_(sm), chain_(Chain::parse(s.attrs.get<std::string>("code"))) {
    for (const ValueType& t : s.inputs)
      narrow_.push_back(width_of(t) == 1 && width_of(s.outputs[0]) != 1);
    uniform_ = chain_.uniform_steps(narrow_);
  }

  std::string run() {
    text_ = std::string(kPrelude);
    text_ += "template <int V> __device__ inline void chain(const Arg& a) {\n";
    // Programmatic dependent launch, as kernels/launch.cuh.
    if (sm_ >= 90)
      text_ +=
          "  asm volatile(\"griddepcontrol.launch_dependents;\");\n"
          "  asm volatile(\"griddepcontrol.wait;\" ::: \"memory\");\n";
    line("  const i64 vectors = {} / V;", width_of(s_.outputs[0]));
    line(
        "  for (i64 i = blockIdx.x * {}ll + threadIdx.x; i < a.rows * vectors; i += gridDim.x * "
        "{}ll) {{",
        kChainThreads, kChainThreads);
    line("    const i64 r = i / vectors, c = (i - r * vectors) * V;");
    operands();
    for (size_t i = 0; i < chain_.steps.size(); ++i)
      if (uniform_[i]) line("    const float t{} = {};", i, expression(chain_.steps[i]));
    for (size_t k = 0; k < chain_.outputs.size(); ++k) line("    float y{}[V];", k);
    text_ += "#pragma unroll\n    for (int e = 0; e < V; ++e) {\n";
    for (size_t i = 0; i < chain_.steps.size(); ++i)
      if (!uniform_[i]) line("      const float t{} = {};", i, expression(chain_.steps[i]));
    for (size_t k = 0; k < chain_.outputs.size(); ++k)
      line("      y{}[e] = t{};", k, chain_.outputs[k].step);
    text_ += "    }\n";
    for (size_t k = 0; k < chain_.outputs.size(); ++k)
      line("    store<{}, V>(a.data[{}], r * a.stride[{}] + c, y{});",
           name(chain_.outputs[k].dtype), kChainMaxInputs + k, kChainMaxInputs + k, k);
    text_ += "  }\n}\n";
    if (has_chain_vectors(s_)) kernel(kChainVector);
    kernel(1);
    return std::move(text_);
  }

 private:
  template <typename... Args>
  void line(fmt::format_string<Args...> format, Args&&... args) {
    text_ += fmt::format(format, std::forward<Args>(args)...) + "\n";
  }

  void operands() {
    for (size_t i = 0; i < s_.inputs.size(); ++i) {
      const ValueType& t = s_.inputs[i];
      const std::string row = row_of(t.shape, s_.outputs[0].shape);
      if (narrow_[i]) {
        line("    const float x{0} = one<{1}>(a.data[{0}], ({2}) * a.stride[{0}]);", i,
             name(t.dtype), row);
      } else {
        line("    float x{0}[V];\n    load<{1}, V>(a.data[{0}], ({2}) * a.stride[{0}] + c, x{0});",
             i, name(t.dtype), row);
      }
    }
  }

  void kernel(int vector) {
    line(
        "extern \"C\" __global__ void __launch_bounds__({0}) chain{1}(const Arg a) {{ "
        "chain<{1}>(a); }}",
        kChainThreads, vector);
  }

  std::string operand(const ChainOperand& o) const {
    const auto i = static_cast<size_t>(o.index);
    switch (o.kind) {
      case ChainOperand::number:
        return fmt::format("__uint_as_float(0x{:08x}u)",
                           std::bit_cast<uint32_t>(static_cast<float>(o.value)));
      case ChainOperand::input:
        return fmt::format("x{}{}", i, narrow_[i] ? "" : "[e]");
      case ChainOperand::step:
        break;
    }
    return fmt::format("t{}", i);
  }

  std::string expression(const ChainStep& s) const {
    const std::string a = operand(s.a);
    if (!takes_two(s.op)) return fmt::format("{}({})", function_of(s.op), a);
    const std::string b = operand(s.b);
    switch (s.op) {
      case ChainOp::add:
        return a + " + " + b;
      case ChainOp::sub:
        return a + " - " + b;
      case ChainOp::mul:
        return a + " * " + b;
      case ChainOp::div:
        return a + " / " + b;
      default:
        return fmt::format("{}({}, {})", function_of(s.op), a, b);
    }
  }

  const OpSignature& s_;
  const int sm_;
  const Chain chain_;
  std::vector<bool> narrow_, uniform_;
  std::string text_;
};

}  // namespace

bool has_chain_source(const OpSignature& s) {
  for (const ValueType& t : s.inputs)
    if (!is_chain_dtype(t.dtype)) return false;
  const SymShape& shape = s.outputs[0].shape;
  for (size_t i = 1; i < shape.size(); ++i)
    if (!shape[i].fixed()) return false;
  return true;
}

bool has_chain_vectors(const OpSignature& s) { return width_of(s.outputs[0]) % kChainVector == 0; }

std::string chain_source(const OpSignature& s, int sm) { return Writer(s, sm).run(); }

}  // namespace tokamak
