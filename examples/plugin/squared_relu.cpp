// A network with an op of a plug-in. Usage: squared_relu PATH/libgates.so [cpu|cuda]
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <random>

#include "tokamak/network.h"

using namespace tokamak::network;

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: squared_relu PATH/libgates.so [cpu|cuda]\n");
    return 2;
  }
  CompileOptions options;
  if (argc > 2) options.device = argv[2];
  constexpr int64_t kRows = 5, kWidth = 96;
  Network net;
  Tensor a = net.input("a", {tokens, kWidth}), b = net.input("b", {tokens, kWidth});
  net.mark_output(net.plugin(argv[1], "relu2_gate", {a, b}, {{"scale", "0.5"}})[0] + 1.0, "y");
  Compiled compiled = net.compile({}, options);
  std::printf("%s\n", compiled.graph_text().c_str());

  std::mt19937 rng(1);
  std::normal_distribution<float> normal;
  Arrays in = {{"a", {{kRows, kWidth}, {}}}, {"b", {{kRows, kWidth}, {}}}};
  for (auto& [name, array] : in)
    for (int64_t i = 0; i < kRows * kWidth; ++i) array.data.push_back(normal(rng));
  const Array y = compiled.run(in).at("y");
  double worst = 0;
  for (size_t i = 0; i < y.data.size(); ++i) {
    const double x = std::max(in.at("a").data[i], 0.0f);
    worst = std::max(worst, std::fabs(y.data[i] - (0.5 * x * x * in.at("b").data[i] + 1)));
  }
  std::printf("largest difference from plain C++: %.2g\n", worst);
  return worst < 1e-5 ? 0 : 1;
}
