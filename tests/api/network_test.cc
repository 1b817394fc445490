// Networks built with the public header: compiled and run on the CPU, against plain C++.
#include "tokamak/network.h"
#include "base/error_of.h"

#include <gmock/gmock.h>

#include <cmath>
#include <random>

namespace tokamak::network {
namespace {

using test::error_of;
using ::testing::HasSubstr;
using ::testing::Not;

std::vector<float> random_numbers(size_t n, unsigned seed) {
  std::mt19937 rng(seed);
  std::normal_distribution<float> normal;
  std::vector<float> v(n);
  for (float& x : v) x = normal(rng);
  return v;
}

void expect_near(const std::vector<float>& a, const std::vector<double>& b, double tolerance) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a[i], b[i], tolerance) << "at " << i;
}

const CompileOptions kOneWorker{.workers = 1};

TEST(Network, CustomRmsNormRunsAsTheFusedKernel) {
  Network net;
  Tensor x = net.input("x", {tokens, 48});
  net.mark_output(x * rsqrt(mean(pow(x, 2)) + 1e-6) * net.weight("w", {48}), "y");
  const auto w = random_numbers(48, 1);
  Compiled c = net.compile({{"w", {{48}, w}}}, kOneWorker);
  EXPECT_THAT(c.graph_text(), HasSubstr("rms_norm[eps=1e-06](x, w f32{48})"));
  EXPECT_THAT(c.graph_text(), Not(HasSubstr("binary")));
  for (int64_t rows : {1, 5, 600}) {
    const auto in = random_numbers(rows * 48, 2);
    std::vector<double> want(in.size());
    for (int64_t r = 0; r < rows; ++r) {
      double square = 0;
      for (int64_t i = 0; i < 48; ++i) square += double{in[r * 48 + i]} * in[r * 48 + i] / 48;
      for (int64_t i = 0; i < 48; ++i)
        want[r * 48 + i] = in[r * 48 + i] / std::sqrt(square + 1e-6) * w[i];
    }
    expect_near(c.run({{"x", {{rows, 48}, in}}}).at("y").data, want, 1e-5);
  }
}

TEST(Network, LinearsJoinAndBothOutputsAreRight) {
  Network net;
  Tensor x = net.input("x", {tokens, 32});
  Tensor a = linear(x, net.weight("a", {16, 32})), b = linear(x, net.weight("b", {8, 32}));
  net.mark_output(a * 2.0, "a2");
  net.mark_output(slice(b, 2, 6) + 1.0, "b1");
  const auto wa = random_numbers(16 * 32, 1), wb = random_numbers(8 * 32, 2);
  const auto in = random_numbers(3 * 32, 3);
  Compiled c = net.compile({{"a", {{16, 32}, wa}}, {"b", {{8, 32}, wb}}}, kOneWorker);
  EXPECT_THAT(c.graph_text(), HasSubstr("f32{24, 32}"));
  const auto dot = [&](const std::vector<float>& w, int64_t row, int64_t n) {
    double sum = 0;
    for (int64_t k = 0; k < 32; ++k) sum += double{in[row * 32 + k]} * w[n * 32 + k];
    return sum;
  };
  std::vector<double> want_a, want_b;
  for (int64_t r = 0; r < 3; ++r) {
    for (int64_t n = 0; n < 16; ++n) want_a.push_back(2 * dot(wa, r, n));
    for (int64_t n = 2; n < 6; ++n) want_b.push_back(dot(wb, r, n) + 1);
  }
  const Arrays out = c.run({{"x", {{3, 32}, in}}});
  expect_near(out.at("a2").data, want_a, 1e-4);
  expect_near(out.at("b1").data, want_b, 1e-4);
}

TEST(Network, DebugOutputsSurviveFusionAndHoldTheirValues) {
  Network net;
  Tensor x = net.input("x", {tokens, 8});
  net.mark_output(x * sigmoid(x), "y");
  EXPECT_EQ(net.mark_debug("sigmoid*").size(), 1u);
  Compiled c = net.compile({}, kOneWorker);
  const auto in = random_numbers(16, 1);
  const Arrays out = c.run({{"x", {{2, 8}, in}}});
  ASSERT_EQ(out.size(), 2u);
  for (size_t i = 0; i < in.size(); ++i)
    EXPECT_NEAR(out.at("sigmoid.out").data[i], 1 / (1 + std::exp(-in[i])), 1e-6);
}

TEST(Network, ReductionsAndBroadcasts) {
  Network net;
  Tensor x = net.input("x", {tokens, 6});
  Tensor e = exp(x - max(x));
  net.mark_output(e / sum(e), "p");
  net.mark_output(reshape(x, {0, 2, 3}) * net.weight("w", {2, 1}), "scaled");
  const auto in = random_numbers(12, 4);
  const Arrays out = net.compile({{"w", {{2, 1}, {2, -1}}}}, kOneWorker).run({{"x", {{2, 6}, in}}});
  EXPECT_EQ(out.at("scaled").shape, (std::vector<int64_t>{2, 2, 3}));
  for (int r = 0; r < 2; ++r) {
    double sum = 0;
    for (int i = 0; i < 6; ++i) sum += std::exp(double{in[r * 6 + i]});
    for (int i = 0; i < 6; ++i) {
      EXPECT_NEAR(out.at("p").data[r * 6 + i], std::exp(double{in[r * 6 + i]}) / sum, 1e-6);
      EXPECT_NEAR(out.at("scaled").data[r * 6 + i], in[r * 6 + i] * (i < 3 ? 2 : -1), 1e-6);
    }
  }
}

TEST(Network, ErrorsNameWhatIsWrong) {
  Network net;
  Tensor x = net.input("x", {tokens, 8}), w = net.weight("w", {4, 6});
  EXPECT_THAT(error_of([&] { linear(x, w); }), HasSubstr("f32{4, 6}; expected a weight {n, 8}"));
  EXPECT_THAT(error_of([&] { net.input("z", {3, 8}); }), HasSubstr("'tokens' as its first"));
  EXPECT_THAT(error_of([&] { net.compile({}); }), HasSubstr("no output"));
  EXPECT_THAT(error_of([&] { net.mark_output(x, "x"); }), HasSubstr("is an input or a weight"));
  net.mark_output(x * 2.0, "y");
  EXPECT_THAT(error_of([&] { net.compile({}); }),
              HasSubstr("weight 'w' of shape [4, 6] is missing"));
  Compiled c = net.compile({{"w", {{4, 6}, std::vector<float>(24)}}}, kOneWorker);
  EXPECT_THAT(error_of([&] { c.run({}); }), HasSubstr("input 'x' is missing"));
  EXPECT_THAT(error_of([&] {
                c.run({{"x", {{1, 7}, std::vector<float>(7)}}});
              }),
              HasSubstr("has shape [1, 7]; expected [tokens, 8]"));
  Network other;
  Tensor z = other.input("z", {tokens, 8});
  EXPECT_THAT(error_of([&] { x + z; }), HasSubstr("different networks"));
}

}  // namespace
}  // namespace tokamak::network
