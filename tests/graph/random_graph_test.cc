// Property: on random graphs the passes change no output, settle, and keep every invariant.
#include <random>

#include "graph/net.h"
#include "ops/attention.h"

namespace tokamak {
namespace {

using nn::Tensor;
using test::Net;

class RandomNet {
 public:
  explicit RandomNet(uint64_t seed) : rng_(seed) {
    pool_.push_back(net_.input("x", 16));
    pool_.push_back(net_.input("z", 16));
    positions_ = net_.positions();
    for (int i = 0, n = 6 + pick(14); i < n; ++i) add(grow());
    for (int i = 0; i < 2; ++i) net_.output(any(), fmt::format("random{}", i));
    net_.output(pool_.back(), "last");
  }
  Graph& graph() { return net_.graph(); }

 private:
  int pick(int n) { return static_cast<int>(rng_() % static_cast<uint64_t>(n)); }
  Tensor any() { return pool_[pick(static_cast<int>(pool_.size()))]; }
  Tensor recent() { return pick(3) ? pool_.back() : any(); }
  void add(Tensor t) { pool_.push_back(t); }
  std::string fresh(const char* what) { return fmt::format("{}{}", what, counter_++); }
  Tensor vector() { return net_.weight(fresh("v"), {16}); }
  Tensor linear(Tensor x, int64_t out = 16) { return net_.linear(x, fresh("l"), out); }

  Tensor norm(Tensor x) {
    const Tensor w = vector();
    switch (pick(5)) {
      case 0:
        return w * (x * rsqrt(mean(pow(x, 2)) + 1e-6));
      case 1:
        return x / sqrt(1e-5 + mean(x * x)) * w;
      case 2:
        return net_.rms_norm(x, fresh("w"));
      case 3:
        return (x - mean(x)) * rsqrt(mean(pow(x - mean(x), 2)) + 1e-5) * w + vector();
      default:
        return (x - mean(x)) / sqrt(mean(unary("square", x - mean(x))) + 1e-5) * w;
    }
  }
  Tensor activation(Tensor x) {
    switch (pick(6)) {
      case 0:
        return x * sigmoid(x);
      case 1:
        return x / (1.0 + exp(-x));
      case 2:
        return 0.5 * x * (1.0 + erf(x / 1.4142135623730951));
      case 3:
        return 0.5 * x * (1.0 + tanh(0.7978845608028654 * (x + 0.044715 * pow(x, 3))));
      case 4:
        return unary("relu", x);
      default:
        return 30.0 * tanh(x / 30.0);
    }
  }
  Tensor heads(Tensor x, const std::string& weight) {
    return reshape(net_.rms_norm(reshape(x, {0, -1, 8}), weight), {0, -1});
  }
  Tensor attention(Tensor x) {
    Tensor q = linear(x, 32), k = linear(x, 16), v = linear(x, 16);
    if (pick(2)) q = q + net_.weight(fresh("b"), {32});
    const AttentionAttrs attrs{.heads = 4,
                               .kv_heads = 2,
                               .head_dim = 8,
                               .scale = 0.35,
                               .softcap = pick(2) ? 20.0 : 0.0,
                               .window = pick(4)};
    const RopeAttrs rope{.head_dim = 8, .rotary_dim = 8 - 4 * pick(2), .neox = pick(2) == 0};
    if (pick(2)) q = heads(q, fresh("qw")), k = heads(k, fresh("kw"));
    if (pick(4)) q = nn::rope(q, positions_, rope), k = nn::rope(k, positions_, rope);
    if (pick(4) == 0) k = heads(k, fresh("kw")), q = heads(q, fresh("qw"));
    return linear(nn::attention(q, k, v, positions_, attrs));
  }
  Tensor views(Tensor x) {
    switch (pick(4)) {
      case 0:
        return nn::concat({slice(x, 0, 8), slice(x, 8, 16)});
      case 1:
        return nn::concat({slice(slice(x, 2, 14), 4, 12), slice(x, 0, 8)});
      case 2:
        return reshape(reshape(x, {0, 4, 4}), {-1, 16});
      default:
        return cast(cast(x * 1.0 + 0.0, DType::bf16), DType::f32);
    }
  }
  Tensor mlp(Tensor x) {
    Tensor a = linear(x, 24), b = linear(x, 24);
    if (pick(2)) a = a + net_.weight(fresh("b"), {24});
    if (pick(2)) b = net_.weight(fresh("b"), {24}) + b;
    return linear(pick(2) ? activation(a) * b : b * activation(a));
  }
  Tensor grow() {
    const Tensor x = recent();
    switch (pick(11)) {
      case 0:
        return linear(x);
      case 1:
        return activation(linear(x) + vector());
      case 2:
        return norm(x);
      case 3:
        return x + attention(norm(x));
      case 4:
        return x + mlp(norm(x));
      case 5:
        return x + any();
      case 6:
        return views(x);
      case 7:
        return activation(x);
      case 8:
        return norm(x + linear(any()));
      case 9:
        return softmax(x) * any();
      default:
        return tanh(x * any() + nn::constant(net_.builder(), 3) / 2.0);
    }
  }

  Net net_;
  std::mt19937_64 rng_;
  std::vector<Tensor> pool_;
  Tensor positions_;
  int counter_ = 0;
};

TEST(RandomGraphs, PassesPreserveEveryOutput) {
  constexpr int kGraphs = 400;
  constexpr int64_t kTokens = 4;
  std::map<std::string, int> rewrites;
  for (int seed = 1; seed <= kGraphs; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    RandomNet net(seed);
    Graph& g = net.graph();
    g.check();
    const std::string before_text = to_text(g);
    const test::Arrays inputs = test::random_inputs(g, kTokens, seed);
    const test::Arrays before = test::interpret(g, inputs, kTokens, 1);
    for (const PassReport& r : run_passes(g, default_passes()))
      rewrites[std::string(r.name)] += r.rewrites;
    ASSERT_LE(test::difference(test::interpret(g, inputs, kTokens, 1), before), 1e-8)
        << before_text << "\nafter\n"
        << to_text(g);
  }
  // Each pass had something to do, or the test proves nothing about it.
  for (const Pass& pass : default_passes())
    EXPECT_TRUE(pass.name == "dead_code" || rewrites[std::string(pass.name)] > 0) << pass.name;
}

TEST(RandomGraphs, EachPassAlonePreservesEveryOutput) {
  for (const Pass& pass : default_passes()) {
    for (int seed = 1000; seed < 1060; ++seed) {
      SCOPED_TRACE(fmt::format("pass {}, seed {}", pass.name, seed));
      RandomNet net(seed);
      Graph& g = net.graph();
      const test::Arrays inputs = test::random_inputs(g, 4, seed);
      const test::Arrays before = test::interpret(g, inputs, 4, 1);
      pass.run(g);
      g.check();
      ASSERT_LE(test::difference(test::interpret(g, inputs, 4, 1), before), 1e-8) << to_text(g);
    }
  }
}

}  // namespace
}  // namespace tokamak
