// Elementwise math of your own, a mish gate with a learned scale and a clamp, runs as one step: no
// intermediate is written to memory. Prints the graph after the passes and the time of a run, and
// compares with plain C++. Usage: elementwise_chain [cpu|cuda] [rows]
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>

#include "tokamak/network.h"

using namespace tokamak::network;

constexpr int64_t kWidth = 2048;

static std::vector<float> random_numbers(size_t n, unsigned seed) {
  std::mt19937 rng(seed);
  std::normal_distribution<float> normal;
  std::vector<float> v(n);
  for (float& x : v) x = normal(rng);
  return v;
}

static Tensor mish(Tensor x) { return x * tanh(log(exp(x) + 1.0)); }

static double expected(double a, double b, double scale) {
  const double gate = a * std::tanh(std::log(std::exp(a) + 1));
  return std::clamp(gate * (b * (1 + scale)) + 0.1 * a, -6.0, 6.0);
}

int main(int argc, char** argv) {
  CompileOptions options;
  if (argc > 1) options.device = argv[1];
  const int64_t rows = argc > 2 ? std::atoll(argv[2]) : 512;

  Network net;
  Tensor a = net.input("a", {tokens, kWidth}), b = net.input("b", {tokens, kWidth});
  Tensor y = mish(a) * (b * (1.0 + net.weight("scale", {kWidth}))) + 0.1 * a;
  net.mark_output(maximum(minimum(y, 6.0), -6.0), "y");

  const std::vector<float> scale = random_numbers(kWidth, 1);
  Compiled compiled = net.compile({{"scale", {{kWidth}, scale}}}, options);
  std::printf("compiled:\n%s\n", compiled.graph_text().c_str());

  const auto n = static_cast<size_t>(rows * kWidth);
  const Arrays inputs = {{"a", {{rows, kWidth}, random_numbers(n, 2)}},
                         {"b", {{rows, kWidth}, random_numbers(n, 3)}}};
  Array out;
  double best_ms = 1e9;
  for (int i = 0; i < 20; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    out = compiled.run(inputs).at("y");
    const auto end = std::chrono::steady_clock::now();
    best_ms = std::min(best_ms, std::chrono::duration<double, std::milli>(end - begin).count());
  }
  double worst = 0;
  for (size_t i = 0; i < n; ++i) {
    const double want = expected(inputs.at("a").data[i], inputs.at("b").data[i], scale[i % kWidth]);
    worst = std::max(worst, std::fabs(out.data[i] - want));
  }
  std::printf("%lld rows of %lld: %.3f ms, copies included; largest difference %.2g\n",
              static_cast<long long>(rows), static_cast<long long>(kWidth), best_ms, worst);
  return worst < 1e-4 ? 0 : 1;
}
