// cuda_attention_bench: times the attention tactics of the CUDA backend. Each case is a recording
// of as many layers as exceed the device's second cache, so that keys and values come from memory.
//   cuda_attention_bench                                      the table that the project quotes
//   cuda_attention_bench --case 32x8x128:1:32768:0:f16        heads x KV heads x size : sequences :
//                                                             context : tokens of a prompt : KV
#include <cmath>
#include <cstring>
#include <numeric>
#include <random>

#include "backend/step_inputs.h"
#include "base/half.h"
#include "cuda_bench.h"
#include "ops/attention.h"

namespace tokamak {
namespace {

struct Case {
  int64_t heads = 0, kv_heads = 0, head_dim = 0;
  int32_t sequences = 1, context = 0, tokens = 0;  // tokens 0: decode
  DType kv = DType::f16;

  explicit Case(const std::string& text) {
    char kind[16] = {};
    if (std::sscanf(text.c_str(), "%ldx%ldx%ld:%d:%d:%d:%15s", &heads, &kv_heads, &head_dim,
                    &sequences, &context, &tokens, kind) != 7)
      fail("--case is '{}', expected HEADSxKV_HEADSxSIZE:SEQUENCES:CONTEXT:TOKENS:KV", text);
    const std::string k = kind;
    kv = k == "int8" ? DType::int8_row : k == "fp8" ? DType::f8e4m3 : parse_dtype(k);
    context = std::max(context, tokens);
  }
};

const std::vector<std::string> kTable = {
    "32x32x128:1:256:0:f16",    "32x32x128:1:2048:0:f16", "32x32x128:1:32768:0:f16",
    "32x32x128:8:256:0:f16",    "32x32x128:32:256:0:f16", "32x32x128:64:256:0:f16",
    "32x8x128:1:256:0:f16",     "32x8x128:1:32768:0:f16", "32x8x128:64:256:0:f16",
    "32x8x128:64:2048:0:bf16",  "9x3x64:1:2048:0:f16",    "32x32x128:64:256:0:int8",
    "32x32x128:64:256:0:fp8",   "32x8x128:1:32768:0:fp8", "32x32x128:1:2048:2048:f16",
    "32x32x128:1:8192:8192:f16"};

struct Options : CudaBenchOptions {
  Options() { rounds = 15; }
  int32_t block_size = 32;
};

class Bench {
 public:
  Bench(Backend& backend, const Options& o, const Case& c)
      : backend_(backend), o_(o), c_(c), inputs_(backend) {
    attrs_.heads = c.heads, attrs_.kv_heads = c.kv_heads, attrs_.head_dim = c.head_dim;
    attrs_.scale = 1 / std::sqrt(static_cast<double>(c.head_dim));
    attrs_.has_rope = true;
    attrs_.rope.head_dim = attrs_.rope.rotary_dim = c.head_dim;
    attrs_.deterministic = o.deterministic;
    queries_ = std::max(c.tokens, 1);
    tokens_ = queries_ * c.sequences;
    const size_t row = row_bytes(c.kv, c.head_dim);
    blocks_ = (c.context + o.block_size - 1) / o.block_size;
    pool_ = row * static_cast<size_t>(c.kv_heads * o.block_size) *
            static_cast<size_t>(blocks_ * c.sequences);
    layers_ = static_cast<int>(std::clamp<size_t>((400u << 20) / (2 * pool_) + 1, 4, 64));
    fill_cache(row);
    make_step();
  }

  double bytes() const {
    return 2.0 * static_cast<double>(row_bytes(c_.kv, c_.head_dim)) *
           static_cast<double>(c_.kv_heads * c_.context) * c_.sequences;
  }
  double flops() const {
    const double pairs =
        static_cast<double>(queries_) * (c_.context - queries_ + (queries_ + 1.0) / 2);
    return 4 * pairs * static_cast<double>(c_.heads * c_.head_dim) * c_.sequences;
  }

  // Median microseconds of a layer.
  double time(const Tactic& tactic) {
    const DType type = c_.kv == DType::bf16 ? DType::bf16 : DType::f16;
    OpSignature s{Op::attention, attrs_.to_attrs(), {}, {}};
    const auto wide = [&](int64_t n) { return ValueType{type, {Symbol::tokens, n}}; };
    const int64_t q = attrs_.heads * attrs_.head_dim, k = attrs_.kv_heads * attrs_.head_dim;
    s.inputs = {wide(q), wide(k), wide(k), {DType::i32, {Symbol::tokens}}};
    s.outputs = infer(s.op, s.attrs, s.inputs);
    if (!tactic.supports(s)) return 0;
    const auto workspace = backend_.allocate(tactic.workspace_bytes(s, tokens_) + 64);
    const int64_t width = q + 2 * k;
    const auto arena = backend_.allocate(static_cast<size_t>(tokens_ * (width + q)) * 2);
    std::mt19937 rng(7);
    std::normal_distribution<float> normal;
    std::vector<uint16_t> x(static_cast<size_t>(tokens_ * width));
    for (uint16_t& v : x)
      v = type == DType::bf16 ? f32_to_bf16(normal(rng)) : f32_to_f16(normal(rng));
    backend_.copy_in(arena.get(), reinterpret_cast<const std::byte*>(x.data()), x.size() * 2);
    std::vector<std::unique_ptr<Kernel>> kernels;
    std::vector<BoundLaunch> launches;
    for (int l = 0; l < layers_; ++l) {
      attrs_.layer = l;
      s.attrs = attrs_.to_attrs();
      kernels.push_back(tactic.bind(s));
      BoundLaunch b;
      b.kernel = kernels.back().get();
      const auto at = [&](int64_t column) { return Operand{arena.get() + 2 * column, width}; };
      b.in = {at(0),
              at(q),
              at(q + k),
              {reinterpret_cast<std::byte*>(const_cast<int32_t*>(step_.positions)), 1}};
      b.out = {{arena.get() + 2 * tokens_ * width, q}};
      launches.push_back(std::move(b));
    }
    return median_launch_us(backend_, launches, workspace.get(), step_, o_.rounds, 4);
  }

 private:
  void fill_cache(size_t row) {
    std::mt19937 rng(3);
    std::normal_distribution<float> normal;
    std::vector<std::byte> some(row * 32749);
    for (size_t at = 0; at < some.size(); at += row) {
      std::byte* p = &some[at];
      if (c_.kv == DType::int8_row) reinterpret_cast<uint16_t*>(p)[0] = f32_to_f16(1.0f / 32);
      for (int64_t d = 0; d < c_.head_dim; ++d) {
        const float v = normal(rng);
        if (c_.kv == DType::int8_row)
          reinterpret_cast<int8_t*>(p)[2 + d] =
              static_cast<int8_t>(std::clamp(v * 32, -127.f, 127.f));
        else if (c_.kv == DType::f8e4m3)
          reinterpret_cast<uint8_t*>(p)[d] = static_cast<uint8_t>(rng() % 0x40 | (rng() & 0x80));
        else
          reinterpret_cast<uint16_t*>(p)[d] = c_.kv == DType::f16 ? f32_to_f16(v) : f32_to_bf16(v);
      }
    }
    const size_t total = 2 * pool_ * static_cast<size_t>(layers_);
    cache_ = backend_.allocate(total);
    for (size_t at = 0; at < total; at += some.size())
      backend_.copy_in(cache_.get() + at, some.data(), std::min(some.size(), total - at));
    for (int l = 0; l < layers_; ++l) {
      std::byte* k = cache_.get() + 2 * pool_ * static_cast<size_t>(l);
      views_.push_back({k, k + pool_});
    }
  }

  void make_step() {
    inputs_.resize(tokens_, c_.sequences, blocks_, c_.sequences);
    step_.tokens = tokens_;
    step_.sequences = step_.logit_rows = c_.sequences;
    for (int32_t t = 0; t < tokens_; ++t) {
      inputs_.token_ids[t] = 0;
      inputs_.positions[t] = c_.context - queries_ + t % queries_;
    }
    for (int32_t s = 0; s <= c_.sequences; ++s) inputs_.query_begin[s] = s * queries_;
    std::vector<int32_t> order(static_cast<size_t>(blocks_ * c_.sequences));
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), std::mt19937(11));
    for (int32_t s = 0; s < c_.sequences; ++s) {
      inputs_.context_len[s] = c_.context;
      inputs_.logit_index[s] = (s + 1) * queries_ - 1;
      for (int32_t b = 0; b < blocks_; ++b)
        inputs_.block_table[s * inputs_.table_stride() + b] =
            order[static_cast<size_t>(s * blocks_ + b)];
    }
    inputs_.upload(step_);
    step_.kv = {c_.kv, o_.block_size, views_};
  }

  Backend& backend_;
  const Options& o_;
  const Case c_;
  AttentionAttrs attrs_;
  int32_t queries_ = 1, tokens_ = 1, blocks_ = 1;
  int layers_ = 1;
  size_t pool_ = 0;
  Backend::Buffer cache_{nullptr, {nullptr, 0}};
  std::vector<KvLayerView> views_;
  StepInputs inputs_;
  StepContext step_;
};

void bench(const Options& o) {
  const auto backend = load_cuda_backend();
  for (const std::string& text : o.cases.empty() ? kTable : o.cases) {
    Bench b(*backend, o, Case(text));
    for (const Tactic* t : backend->tactics(Op::attention)) {
      const bool reference = t->name() == "attention.reference";
      if (o.tactic.empty() ? reference : t->name() != o.tactic) continue;
      const double us = b.time(*t);
      if (us == 0) continue;
      print_cuda_case(o, t->name(), text, us, b.bytes(), b.flops());
    }
  }
}

}  // namespace
}  // namespace tokamak

int main(int argc, char** argv) {
  tokamak::Options o;
  CLI::App app("Times attention on a CUDA device.");
  add_cuda_bench_options(app, o, "HEADSxKV_HEADSxSIZE:SEQUENCES:CONTEXT:TOKENS:KV",
                         "By name; default: all but the reference");
  app.add_option("--block", o.block_size, "Tokens of a KV block")->capture_default_str();
  return tokamak::run_cuda_bench(app, argc, argv, [&] { tokamak::bench(o); });
}
