// cuda_linear_bench: times the linear tactics of the CUDA backend. Each case is a recording of
// launches whose weights together exceed the device's second cache, each waiting for the one
// before.
//   cuda_linear_bench            the chosen tactic of a 7B model's matrices
//   cuda_linear_bench --case 1x4096x4096:int4_g128:8 --all
//     matrices x outputs x inputs : weights : tokens; every tactic. Two matrices: linear_glu
#include <random>

#include "base/half.h"
#include "cuda_bench.h"
#include "ops/linear.h"

namespace tokamak {
namespace {

constexpr const char* kShapes[] = {"1x12288x4096", "1x4096x4096", "2x11008x4096", "1x4096x11008",
                                   "1x32000x4096"};
constexpr const char* kWeights[] = {"f16", "int8_row", "int4_g128", "q4_0", "fp8"};
constexpr int kTokens[] = {1, 8, 16, 32, 64, 128, 2048};

struct Options : CudaBenchOptions {
  bool all = false;
  int64_t activation_bits = 16;
};

struct Case {
  int64_t matrices = 1, n = 0, k = 0;
  DType weight = DType::f16;
  int32_t tokens = 1;

  explicit Case(const std::string& text) {
    char kind[24] = {};
    if (std::sscanf(text.c_str(), "%ldx%ldx%ld:%23[^:]:%d", &matrices, &n, &k, kind, &tokens) !=
            5 ||
        matrices < 1 || matrices > 2 || n < 1 || k < 1 || tokens < 1)
      fail("--case is '{}', expected MATRICESxOUTPUTSxINPUTS:WEIGHTS:TOKENS, 1 or 2 matrices",
           text);
    weight = parse_dtype(kind);
  }
  OpSignature signature(const Options& o) const {
    OpSignature s;
    LinearAttrs a;
    a.activation_bits = o.activation_bits;
    s.op = matrices == 2 ? Op::linear_glu : Op::linear;
    if (matrices == 2) a.activation = Activation::silu;
    a.deterministic = o.deterministic;
    s.attrs = a.to_attrs();
    const DType x = weight == DType::bf16 ? DType::bf16 : DType::f16;
    s.inputs = {{x, {Symbol::tokens, Dim(k)}}};
    for (int64_t m = 0; m < matrices; ++m) s.inputs.push_back({weight, {Dim(n), Dim(k)}, true});
    s.outputs = infer(s.op, s.attrs, s.inputs);
    return s;
  }
};

// Numbers of moderate size, whatever they are read as.
Backend::Buffer random_bytes(Backend& backend, size_t bytes) {
  std::mt19937 rng(3);
  std::vector<std::byte> some(std::min<size_t>(bytes, 4 << 20));
  for (std::byte& b : some) b = static_cast<std::byte>(rng() & 0xbb);
  Backend::Buffer buffer = backend.allocate(bytes);
  for (size_t at = 0; at < bytes; at += some.size())
    backend.copy_in(buffer.get() + at, some.data(), std::min(some.size(), bytes - at));
  return buffer;
}

// Median microseconds of a launch.
double time(Backend& backend, const Tactic& tactic, const OpSignature& s, const Case& c,
            int rounds) {
  const WeightLayout* layout = backend.layout(tactic.weight_layout(s, 1));
  const size_t matrix = (layout->packed_bytes(c.weight, Shape{c.n, c.k}) + 255) / 256 * 256;
  const size_t one = matrix * static_cast<size_t>(c.matrices);
  const size_t launches_count = std::clamp<size_t>((600u << 20) / one, 4, 40);
  const auto weights = random_bytes(backend, one * launches_count);
  const auto x = random_bytes(backend, static_cast<size_t>(c.tokens * c.k) * 2);
  const auto y = backend.allocate(static_cast<size_t>(c.tokens * c.n) * 4);
  const auto workspace = backend.allocate(tactic.workspace_bytes(s, c.tokens) + 64);
  StepContext step;
  step.tokens = step.max_queries = c.tokens;
  step.sequences = step.logit_rows = 1;
  const auto kernel = tactic.bind(s);
  std::vector<BoundLaunch> launches(launches_count);
  for (size_t i = 0; i < launches_count; ++i) {
    launches[i].kernel = kernel.get();
    launches[i].in = {{x.get(), c.k}};
    for (int64_t m = 0; m < c.matrices; ++m)
      launches[i].in.push_back({weights.get() + one * i + matrix * static_cast<size_t>(m), 0});
    launches[i].out = {{y.get(), c.n}};
  }
  return median_launch_us(backend, launches, workspace.get(), step, rounds, 1);
}

void bench(const Options& o) {
  const auto backend = load_cuda_backend();
  std::vector<std::string> cases = o.cases;
  if (cases.empty())
    for (const char* weight : kWeights)
      for (const char* shape : kShapes)
        for (const int tokens : kTokens)
          cases.push_back(fmt::format("{}:{}:{}", shape, weight, tokens));
  for (const std::string& text : cases) {
    const Case c(text);
    const OpSignature s = c.signature(o);
    const Tactic* chosen = select_tactic(*backend, s, c.tokens);
    const OpCost cost_of = cost(s, c.tokens, 1, 0);
    for (const Tactic* t : backend->tactics(s.op)) {
      if (!t->supports(s) || t->name().ends_with(".reference")) continue;
      if (o.tactic.empty() ? !o.all && t != chosen : t->name() != o.tactic) continue;
      const double us = time(*backend, *t, s, c, o.rounds);
      print_cuda_case(o, t->name(), text, us, cost_of.bytes, cost_of.flops);
    }
  }
}

}  // namespace
}  // namespace tokamak

int main(int argc, char** argv) {
  tokamak::Options o;
  CLI::App app("Times linear and linear_glu on a CUDA device.");
  add_cuda_bench_options(app, o, "MATRICESxOUTPUTSxINPUTS:WEIGHTS:TOKENS",
                         "By name; default: the one chosen without tuning");
  app.add_flag("--all", o.all, "Every tactic but the reference");
  app.add_option("--activation_bits", o.activation_bits, "8: activations may be rounded")
      ->check(CLI::IsMember({8, 16}))
      ->capture_default_str();
  return tokamak::run_cuda_bench(app, argc, argv, [&] { tokamak::bench(o); });
}
