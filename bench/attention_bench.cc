// attention_bench: times one attention tactic over a KV cache of many layers, so that every launch
// reads keys and values from memory, as decoding does.
//   attention_bench --shape 9x3x64 --context 8192                  one decoding sequence
//   attention_bench --shape 32x4x64 --tokens 4096 --tactic attention.amx   one prompt
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <numeric>
#include <random>

#include "backend/cpu/cpu_backend.h"
#include "base/error.h"
#include "base/half.h"
#include "ops/attention.h"

namespace tokamak {
namespace {

struct Options {
  std::string shape = "9x3x64", isa, tactic;
  std::vector<std::string> kv_dtypes = {"f16"};
  std::vector<int32_t> block_sizes = {32};
  std::vector<int32_t> contexts = {1024};  // after the step
  int32_t tokens = 0;                      // of a prompt; 0: decode
  int32_t sequences = 1;
  int workers = 0, rounds = 9, layers = 0;
  bool deterministic = false;
  double gb_s = 0, gflop_s = 0;  // limits to compare with; 0: measured
};

struct Shape3 {
  int64_t heads, kv_heads, head_dim;
};
Shape3 shape_of(const std::string& text) {
  Shape3 s{};
  if (std::sscanf(text.c_str(), "%ldx%ldx%ld", &s.heads, &s.kv_heads, &s.head_dim) != 3 ||
      s.heads < 1 || s.kv_heads < 1 || s.head_dim < 1)
    fail("--shape is '{}', expected HEADSxKV_HEADSxHEAD_DIM", text);
  return s;
}

class Case {
 public:
  Case(Backend& backend, const Options& o, DType kv, int32_t block_size, int32_t context)
      : backend_(backend), tokens_(o.tokens > 0 ? o.tokens : o.sequences) {
    const Shape3 s = shape_of(o.shape);
    attrs_.heads = s.heads, attrs_.kv_heads = s.kv_heads, attrs_.head_dim = s.head_dim;
    attrs_.scale = 1 / std::sqrt(static_cast<double>(s.head_dim));
    attrs_.has_rope = true;
    attrs_.rope.head_dim = attrs_.rope.rotary_dim = s.head_dim;
    attrs_.deterministic = o.deterministic;
    context_ = o.tokens > 0 ? std::max(context, tokens_) : context;
    const int32_t sequences = o.tokens > 0 ? 1 : o.sequences;
    const int32_t blocks = (context_ + block_size - 1) / block_size;
    const size_t row = row_bytes(kv, s.head_dim);
    const size_t pool = row * static_cast<size_t>(s.kv_heads * block_size) *
                        static_cast<size_t>(blocks * sequences);
    layers_ = o.tokens > 0 ? 1 : static_cast<int>(std::clamp<size_t>((256u << 20) / pool, 2, 64));
    if (o.layers > 0) layers_ = o.layers;
    cache_ = backend.allocate(2 * pool * static_cast<size_t>(layers_));
    fill(kv, row, 2 * pool * static_cast<size_t>(layers_));
    for (int l = 0; l < layers_; ++l)
      views_.push_back({cache_.get() + 2 * pool * static_cast<size_t>(l),
                        cache_.get() + 2 * pool * static_cast<size_t>(l) + pool});
    bytes_ =
        2.0 * static_cast<double>(row) * static_cast<double>(s.kv_heads) * context_ * sequences;
    const double pairs = o.tokens > 0 ? tokens_ * (context_ - tokens_ + (tokens_ + 1.0) / 2)
                                      : static_cast<double>(context_) * sequences;
    flops_ = 4 * pairs * static_cast<double>(s.heads * s.head_dim);
    make_step(sequences, blocks, kv, block_size);
  }

  double bytes() const { return bytes_; }
  double flops() const { return flops_; }

  struct Time {
    double best, median;  // microseconds of a launch
  };
  Time time(const std::string& tactic_name, int rounds) {
    OpSignature s{Op::attention, attrs_.to_attrs(), {}, {}};
    const auto wide = [](int64_t n) { return ValueType{DType::f32, {Symbol::tokens, n}}; };
    const int64_t q = attrs_.heads * attrs_.head_dim, k = attrs_.kv_heads * attrs_.head_dim;
    s.inputs = {wide(q), wide(k), wide(k), {DType::i32, {Symbol::tokens}}};
    s.outputs = infer(s.op, s.attrs, s.inputs);
    const Tactic* tactic = tactic_name.empty() ? select_tactic(backend_, s, tokens_)
                                               : find_tactic(backend_, s.op, tactic_name);
    if (tactic == nullptr || !tactic->supports(s)) fail("no tactic '{}' here", tactic_name);
    name_ = tactic->name();
    Backend::Buffer workspace = backend_.allocate(tactic->workspace_bytes(s, tokens_));
    Backend::Buffer arena =
        backend_.allocate(static_cast<size_t>(tokens_ * (2 * q + 2 * k)) * sizeof(float));
    auto* x = reinterpret_cast<float*>(arena.get());
    std::mt19937 rng(7);
    std::normal_distribution<float> normal;
    for (int64_t i = 0; i < tokens_ * (q + 2 * k); ++i) x[i] = normal(rng);
    std::vector<std::unique_ptr<Kernel>> kernels;
    std::vector<BoundLaunch> launches;
    for (int l = 0; l < layers_; ++l) {
      attrs_.layer = l;
      s.attrs = attrs_.to_attrs();
      kernels.push_back(tactic->bind(s));
      BoundLaunch b;
      b.kernel = kernels.back().get();
      const auto at = [&](int64_t offset, int64_t width) {
        return Operand{reinterpret_cast<std::byte*>(x + offset * tokens_), width};
      };
      b.in = {
          at(0, q), at(q, k), at(q + k, k), {reinterpret_cast<std::byte*>(positions_.data()), 1}};
      b.out = {at(q + 2 * k, q)};
      launches.push_back(std::move(b));
    }
    std::vector<double> times;
    for (int r = 0; r < rounds + 1; ++r) {  // the first one warms up
      const auto start = std::chrono::steady_clock::now();
      backend_.run(launches, workspace.get(), step_);
      const std::chrono::duration<double, std::micro> us = std::chrono::steady_clock::now() - start;
      if (r > 0) times.push_back(us.count() / layers_);
    }
    std::sort(times.begin(), times.end());
    return {times.front(), times[times.size() / 2]};
  }
  const std::string& name() const { return name_; }

 private:
  void fill(DType kv, size_t row, size_t bytes) {
    std::mt19937 rng(3);
    std::normal_distribution<float> normal;
    std::vector<std::byte> some(row * 509);
    for (size_t at = 0; at < some.size(); at += row)
      for (int64_t d = 0; d < attrs_.head_dim; ++d) {
        const float v = normal(rng);
        std::byte* p = &some[at];
        if (kv == DType::int8_row) {
          reinterpret_cast<uint16_t*>(p)[0] = f32_to_f16(1.0f / 32);
          reinterpret_cast<int8_t*>(p)[2 + d] =
              static_cast<int8_t>(std::clamp(v * 32, -127.f, 127.f));
        } else if (kv == DType::f32) {
          reinterpret_cast<float*>(p)[d] = v;
        } else {
          reinterpret_cast<uint16_t*>(p)[d] = kv == DType::f16 ? f32_to_f16(v) : f32_to_bf16(v);
        }
      }
    for (size_t at = 0; at < bytes; at += some.size())
      std::memcpy(cache_.get() + at, some.data(), std::min(some.size(), bytes - at));
  }

  void make_step(int32_t sequences, int32_t blocks, DType kv, int32_t block_size) {
    const bool prompt = sequences == 1 && tokens_ > 1;
    for (int32_t t = 0; t < tokens_; ++t)
      positions_.push_back(prompt ? context_ - tokens_ + t : context_ - 1);
    for (int32_t q = 0; q <= sequences; ++q) begin_.push_back(prompt ? q * tokens_ : q);
    length_.assign(static_cast<size_t>(sequences), context_);
    table_.resize(static_cast<size_t>(blocks * sequences));
    std::iota(table_.begin(), table_.end(), 0);
    step_.tokens = tokens_;
    step_.sequences = step_.logit_rows = sequences;
    step_.positions = positions_.data();
    step_.query_begin = begin_.data();
    step_.context_len = length_.data();
    step_.block_table = table_.data();
    step_.block_table_stride = blocks;
    step_.kv = {kv, block_size, views_};
  }

  Backend& backend_;
  const int32_t tokens_;
  int32_t context_ = 0;
  int layers_ = 1;
  AttentionAttrs attrs_;
  Backend::Buffer cache_{nullptr, {nullptr, 0}};
  std::vector<KvLayerView> views_;
  std::vector<int32_t> positions_, begin_, length_, table_;
  StepContext step_;
  double bytes_ = 0, flops_ = 0;
  std::string name_;
};

void bench(const Options& o) {
  CpuOptions cpu;
  cpu.workers = o.workers;
  cpu.isa = o.isa;
  const auto backend = make_cpu_backend(cpu);
  DeviceLimits limits;
  if (o.gb_s == 0 || o.gflop_s == 0) limits = backend->measure_limits();
  const double gb_s = o.gb_s > 0 ? o.gb_s : limits.read_gb_s;
  for (const std::string& kv : o.kv_dtypes)
    for (const int32_t context : o.contexts)
      for (const int32_t block : o.block_sizes) {
        const DType dtype = kv == "int8" ? DType::int8_row : parse_dtype(kv);
        Case c(*backend, o, dtype, block, context);
        const auto [us, median] = c.time(o.tactic, o.rounds);
        const bool amx = c.name().find("amx") != std::string::npos;
        const double peak = o.gflop_s > 0 ? o.gflop_s
                            : amx         ? limits.bf16_gflop_s
                                          : limits.f32_gflop_s;
        fmt::print(
            "{:18} {} kv {:5} block {:3} context {:5} tokens {:4} sequences {:2}: {:9.1f} us  "
            "{:6.1f} GB/s ({:3.0f} %)  {:7.1f} GFLOP/s ({:3.0f} %)  median {:9.1f} us\n",
            c.name(), o.shape, kv, block, context, o.tokens, o.sequences, us, c.bytes() / us / 1e3,
            c.bytes() / us / gb_s / 10, c.flops() / us / 1e3, c.flops() / us / peak / 10, median);
        std::fflush(stdout);
      }
}

}  // namespace
}  // namespace tokamak

int main(int argc, char** argv) {
  tokamak::Options o;
  CLI::App app("Times attention over a KV cache that lies in memory.");
  app.add_option("--shape", o.shape, "HEADSxKV_HEADSxHEAD_DIM")->capture_default_str();
  app.add_option("--isa", o.isa, "ISA level; default: the best");
  app.add_option("--tactic", o.tactic, "By name; default: the backend's choice");
  app.add_option("--kv_dtype", o.kv_dtypes, "f32, f16, bf16, int8")->delimiter(',');
  app.add_option("--block", o.block_sizes, "Tokens of a KV block")->delimiter(',');
  app.add_option("--context", o.contexts, "KV tokens of a sequence")->delimiter(',');
  app.add_option("--tokens", o.tokens, "Of a prompt; 0: decode");
  app.add_option("--sequences", o.sequences, "That decode together");
  app.add_option("--workers", o.workers, "0: the physical cores");
  app.add_option("--layers", o.layers, "Of the cache; 0: as many as do not fit the processor's");
  app.add_option("--rounds", o.rounds, "The best and the median are told");
  app.add_flag("--deterministic", o.deterministic, "As built with --deterministic");
  app.add_option("--gb_s", o.gb_s, "Read bandwidth to compare with; 0: measured");
  app.add_option("--gflop_s", o.gflop_s, "Peak to compare with; 0: measured");
  CLI11_PARSE(app, argc, argv);
  try {
    tokamak::bench(o);
  } catch (const tokamak::Error& e) {
    fmt::print(stderr, "{}\n", e.what());
    return 1;
  }
  return 0;
}
