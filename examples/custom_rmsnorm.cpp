// An RMS norm written out of pow, mean, rsqrt and mul compiles to the fused kernel. Prints the
// graph before and after the passes, runs it, and compares with plain C++.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <random>

#include "tokamak/network.h"

using namespace tokamak::network;

static std::vector<float> random_numbers(size_t n, unsigned seed) {
  std::mt19937 rng(seed);
  std::normal_distribution<float> normal;
  std::vector<float> v(n);
  for (float& x : v) x = normal(rng);
  return v;
}

int main() {
  constexpr int64_t kRows = 3, kWidth = 576;
  constexpr double kEps = 1e-6;

  Network net;
  Tensor x = net.input("x", {tokens, kWidth});
  Tensor y = x * rsqrt(mean(pow(x, 2)) + kEps) * net.weight("w", {kWidth});
  net.mark_output(y, "y");
  std::printf("as written:\n%s\n", net.graph_text().c_str());

  const std::vector<float> weight = random_numbers(kWidth, 1);
  const std::vector<float> input = random_numbers(kRows * kWidth, 2);
  Compiled compiled = net.compile({{"w", {{kWidth}, weight}}});
  std::printf("compiled:\n%s\n", compiled.graph_text().c_str());
  const Array out = compiled.run({{"x", {{kRows, kWidth}, input}}}).at("y");

  double worst = 0;
  for (int64_t r = 0; r < kRows; ++r) {
    const float* row = input.data() + r * kWidth;
    double square = 0;
    for (int64_t i = 0; i < kWidth; ++i) square += double{row[i]} * row[i] / kWidth;
    for (int64_t i = 0; i < kWidth; ++i) {
      const double expected = row[i] / std::sqrt(square + kEps) * weight[i];
      worst = std::max(worst, std::fabs(out.data[r * kWidth + i] - expected));
    }
  }
  std::printf("largest difference from plain C++: %.2g\n", worst);
  return worst < 1e-5 ? 0 : 1;
}
