// kernel_bench: times every tactic of chosen op shapes on its own, against what the machine allows.
//   kernel_bench --shapes 2048x2048,glu:5632x2048,attention:32x4x64 --dtypes bf16,q8_0 --tokens
//   1,16,512
// A linear shape is OUTPUTSxINPUTS, glu: the gated pair of it; attention is
// HEADSxKV_HEADSxHEAD_DIM, where up to 32 tokens are as many decoding sequences of --context tokens
// and more are one prompt.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>

#include "backend/cpu/cpu_backend.h"
#include "backend/cpu/cpu_tactic.h"
#include "backend/cpu/isa.h"
#include "base/error.h"
#include "compile/tactic_timer.h"
#include "formats/atomic_output.h"
#include "ops/attention.h"
#include "ops/linear.h"

namespace tokamak {
namespace {

constexpr int64_t kMostDecodes = 32;  // as the tactic timer: more tokens are a prompt

struct Options {
  std::vector<std::string> shapes = {"2048x2048", "glu:5632x2048", "2048x5632",
                                     "attention:32x4x64"};
  std::vector<std::string> dtypes = {"f32", "bf16", "f16", "q8_0", "q4_0", "q4_1"};
  std::vector<int32_t> tokens = {1, 4, 16, 128, 512};
  std::vector<std::string> isa;
  std::string tactic, kv_dtype = "f16", output;
  int64_t context = 1024, activation_bits = 16;
  int workers = 0, rounds = 7;
  bool json = false;
};

struct Case {
  std::string name;
  DType dtype;  // of the weight, or of the KV cache
  OpSignature signature;
  std::vector<PlanWeight> weights;
};

struct Row {
  std::string shape, dtype, isa, tactic;
  int32_t tokens;
  double us, gb_s, gflop_s, floor_us, percent;
};

std::vector<int64_t> sizes_of(const std::string& text, size_t count, const std::string& shape) {
  std::vector<int64_t> sizes;
  for (const std::string& part : CLI::detail::split(text, 'x')) {
    int64_t n = 0;
    if (!CLI::detail::lexical_cast(part, n) || n < 1)
      fail("--shapes '{}': '{}' is not a positive number", shape, part);
    sizes.push_back(n);
  }
  if (sizes.size() != count)
    fail("--shapes '{}': {} sizes, expected {}", shape, sizes.size(), count);
  return sizes;
}

Case linear_case(const std::string& shape, bool glu, int64_t n, int64_t k, DType dtype,
                 int64_t activation_bits) {
  LinearAttrs attrs;
  attrs.activation_bits = activation_bits;
  if (glu) attrs.activation = Activation::silu;
  const ValueType x{DType::f32, {Symbol::tokens, k}}, w{dtype, {n, k}, true};
  Case c{shape, dtype, {glu ? Op::linear_glu : Op::linear, attrs.to_attrs(), {x, w}, {}}, {}};
  if (glu) c.signature.inputs.push_back(w);
  for (size_t i = 1; i < c.signature.inputs.size(); ++i)
    c.weights.push_back({{fmt::format("w{}.weight", i)}, dtype, {n, k}});
  c.signature.outputs = infer(c.signature.op, c.signature.attrs, c.signature.inputs);
  return c;
}

Case attention_case(const std::string& shape, const std::vector<int64_t>& s, DType kv) {
  AttentionAttrs a;
  a.heads = s[0], a.kv_heads = s[1], a.head_dim = s[2];
  a.scale = 1 / std::sqrt(static_cast<double>(a.head_dim));
  const auto wide = [](int64_t n) { return ValueType{DType::f32, {Symbol::tokens, n}}; };
  Case c{shape, kv, {Op::attention, a.to_attrs(), {}, {}}, {}};
  c.signature.inputs = {wide(a.heads * a.head_dim),
                        wide(a.kv_heads * a.head_dim),
                        wide(a.kv_heads * a.head_dim),
                        {DType::i32, {Symbol::tokens}}};
  c.signature.outputs = infer(c.signature.op, c.signature.attrs, c.signature.inputs);
  return c;
}

std::vector<Case> cases_of(const Options& o) {
  std::vector<Case> cases;
  for (const std::string& shape : o.shapes) {
    const size_t colon = shape.find(':');
    const std::string kind = colon == std::string::npos ? "linear" : shape.substr(0, colon);
    const std::string sizes = colon == std::string::npos ? shape : shape.substr(colon + 1);
    if (kind == "attention") {
      cases.push_back(attention_case(shape, sizes_of(sizes, 3, shape), parse_dtype(o.kv_dtype)));
      continue;
    }
    if (kind != "linear" && kind != "glu")
      fail("--shapes '{}': found '{}', expected linear, glu or attention", shape, kind);
    const auto nk = sizes_of(sizes, 2, shape);
    for (const std::string& name : o.dtypes) {
      const DType dtype = parse_dtype(name);
      if (!fits_row(dtype, nk[1]))
        fail("--shapes '{}': {} inputs do not divide into {}'s blocks of {}", shape, nk[1], name,
             row_step(dtype));
      cases.push_back(linear_case(shape, kind == "glu", nk[0], nk[1], dtype, o.activation_bits));
    }
  }
  return cases;
}

// Operations and bytes that the case needs at least; of attention only the visible pairs count.
OpCost cost_of(const Case& c, int32_t tokens, int64_t context) {
  if (c.signature.op != Op::attention) return cost(c.signature, tokens, tokens, 0);
  const AttentionAttrs a = AttentionAttrs::from(c.signature.attrs);
  const bool decode = tokens <= kMostDecodes;
  const double pairs = decode ? static_cast<double>(tokens) * static_cast<double>(context)
                              : 0.5 * tokens * (tokens + 1.0);
  const double keys = decode ? pairs : tokens;
  const double row = static_cast<double>(row_bytes(c.dtype, a.head_dim));
  const double outer = 4.0 * tokens * static_cast<double>(2 * a.heads * a.head_dim);
  return {2 * keys * static_cast<double>(a.kv_heads) * row + outer,
          4 * pairs * static_cast<double>(a.heads * a.head_dim)};
}

// The rate that bounds a tactic, by the arithmetic in its name: "linear.bf16.amx".
double peak_of(const DeviceLimits& l, const std::string& tactic, double activation_digits) {
  const auto parts = CLI::detail::split(tactic, '.');
  const std::string math = parts.size() > 1 ? parts[1] : "";
  if (math == "int8") return l.int8_gop_s;
  if (math == "int16") return l.int8_gop_s / activation_digits;
  const bool bf16 = math == "bf16" || parts.back() == "amx" || parts.back() == "avx512_bf16";
  return bf16 && l.bf16_gflop_s > 0 ? l.bf16_gflop_s : l.f32_gflop_s;
}

class Bench {
 public:
  explicit Bench(const Options& o) : o_(o), source_(make_random_source(1)) {
    CpuOptions cpu;
    cpu.workers = o.workers;
    backend_ = make_cpu_backend(cpu);
    for (int level = 0; level <= static_cast<int>(parse_isa(backend_->properties().isa)); ++level) {
      CpuOptions own = cpu;
      own.isa = name(static_cast<Isa>(level));
      limits_[own.isa] = make_cpu_backend(own)->measure_limits();
    }
  }

  const Backend& backend() const { return *backend_; }
  const std::map<std::string, DeviceLimits>& limits() const { return limits_; }

  template <typename F>
  void run(F report) {
    for (const Case& c : cases_of(o_)) {
      std::vector<const PlanWeight*> weights;
      for (const PlanWeight& w : c.weights) weights.push_back(&w);
      for (const int32_t tokens : o_.tokens) {
        TimerOptions t;
        t.context = o_.context;
        t.kv_dtype = c.signature.op == Op::attention ? c.dtype : DType::f16;
        t.race.min_rounds = t.race.max_rounds = o_.rounds;
        TacticTimer timer(*backend_, *source_, c.signature, weights, t);
        for (const Tactic* tactic : tactics_of(c))
          report(row_of(c, *tactic, tokens, timer.time({tactic}, tokens).us.begin()->second));
      }
    }
  }

 private:
  static std::string level_of(const Tactic& t) {
    return std::string(name(dynamic_cast<const CpuTactic&>(t).level()));
  }
  std::vector<const Tactic*> tactics_of(const Case& c) const {
    std::vector<const Tactic*> list;
    for (const Tactic* t : backend_->tactics(c.signature.op)) {
      const std::string level = level_of(*t);
      const bool wanted = o_.isa.empty() ? level != "reference"
                                         : std::count(o_.isa.begin(), o_.isa.end(), level) > 0;
      if (wanted && t->supports(c.signature) && t->name().find(o_.tactic) != std::string_view::npos)
        list.push_back(t);
    }
    return list;
  }
  Row row_of(const Case& c, const Tactic& tactic, int32_t tokens, double us) const {
    const OpCost needed = cost_of(c, tokens, o_.context);
    const DeviceLimits& l = limits_.at(level_of(tactic));
    Row r{c.name,
          std::string(name(c.dtype)),
          level_of(tactic),
          std::string(tactic.name()),
          tokens,
          us,
          needed.bytes / us / 1e3,
          needed.flops / us / 1e3};
    const double compute = needed.flops / (peak_of(l, r.tactic, 2) * 1e3);
    r.floor_us = std::max(needed.bytes / (l.read_gb_s * 1e3), compute);
    r.percent = 100 * r.floor_us / us;
    return r;
  }

  const Options& o_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<WeightSource> source_;
  std::map<std::string, DeviceLimits> limits_;
};

Json to_json(const Row& r) {
  return {{"shape", r.shape},       {"dtype", r.dtype},
          {"isa", r.isa},           {"tactic", r.tactic},
          {"tokens", r.tokens},     {"us", r.us},
          {"gb_s", r.gb_s},         {"gflop_s", r.gflop_s},
          {"floor_us", r.floor_us}, {"percent_of_limit", r.percent}};
}

Json to_json(const DeviceLimits& l) {
  return {{"read_gb_s", l.read_gb_s},
          {"f32_gflop_s", l.f32_gflop_s},
          {"bf16_gflop_s", l.bf16_gflop_s},
          {"int8_gop_s", l.int8_gop_s}};
}

Json to_json(const Bench& b, Json rows) {
  Json limits;
  for (const auto& [level, l] : b.limits()) limits[level] = to_json(l);
  const DeviceProperties& p = b.backend().properties();
  return {
      {"device", p.name}, {"workers", p.workers}, {"limits", limits}, {"rows", std::move(rows)}};
}

void print_head(const Bench& b) {
  const DeviceProperties& p = b.backend().properties();
  fmt::print("{}, {} workers\n\n", p.name, p.workers);
  fmt::print(
      "| level | read GB/s | f32 GFLOP/s | bf16 GFLOP/s | int8 Gop/s "
      "|\n|---|---:|---:|---:|---:|\n");
  for (const auto& [level, l] : b.limits())
    fmt::print("| {} | {:.1f} | {:.0f} | {:.0f} | {:.0f} |\n", level, l.read_gb_s, l.f32_gflop_s,
               l.bf16_gflop_s, l.int8_gop_s);
  fmt::print(
      "\n| shape | dtype | tokens | tactic | µs | GB/s | GFLOP/s | % of limit |\n"
      "|---|---|---:|---|---:|---:|---:|---:|\n");
}

int bench(const Options& o) {
  Bench b(o);
  Json rows = Json::array();
  if (!o.json) print_head(b);
  b.run([&](const Row& r) {
    rows.push_back(to_json(r));
    if (o.json) return;
    fmt::print("| {} | {} | {} | {} | {:.1f} | {:.1f} | {:.0f} | {:.0f} |\n", r.shape, r.dtype,
               r.tokens, r.tactic, r.us, r.gb_s, r.gflop_s, r.percent);
    std::fflush(stdout);
  });
  const Json all = to_json(b, std::move(rows));
  if (o.json) fmt::print("{}\n", all.dump(1));
  if (!o.output.empty()) write_output(o.output, all.dump(1) + "\n");
  return 0;
}

}  // namespace
}  // namespace tokamak

int main(int argc, char** argv) {
  tokamak::Options o;
  CLI::App app("Times the CPU kernels shape by shape against the machine's measured limits.");
  app.add_option("--shapes", o.shapes, "NxK, glu:NxK or attention:HEADSxKV_HEADSxHEAD_DIM")
      ->delimiter(',')
      ->capture_default_str();
  app.add_option("--dtypes", o.dtypes, "Of the weights")->delimiter(',')->capture_default_str();
  app.add_option("--tokens", o.tokens, "Of a step")->delimiter(',')->capture_default_str();
  app.add_option("--isa", o.isa, "Only these levels' tactics (default: all but reference)")
      ->delimiter(',');
  app.add_option("--tactic", o.tactic, "Only tactics whose name contains this");
  app.add_option("--kv_dtype", o.kv_dtype, "Of the KV cache")->capture_default_str();
  app.add_option("--context", o.context, "KV tokens of a decoding sequence")->capture_default_str();
  app.add_option("--activation_bits", o.activation_bits, "16 or 8")->capture_default_str();
  app.add_option("--workers", o.workers, "0: the physical cores");
  app.add_option("--rounds", o.rounds, "Per tactic; the best counts")->capture_default_str();
  app.add_flag("--json", o.json, "Print one JSON object");
  app.add_option("--output", o.output, "JSON file to write beside the table");
  CLI11_PARSE(app, argc, argv);
  try {
    return tokamak::bench(o);
  } catch (const tokamak::Error& e) {
    std::fprintf(stderr, "error: %s\n", e.what());
    return 2;
  }
}
