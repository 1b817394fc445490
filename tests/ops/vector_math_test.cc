// Largest error of the vector functions in units in the last place, over floats spread evenly by
// bit pattern, through the unary tactics of every level that this machine runs.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "backend/cpu/cpu_backend.h"
#include "backend/cpu/isa.h"
#include "op_table.h"

namespace tokamak::test {
namespace {

struct Function {
  const char* kind;
  float low, high;  // of |x|; both signs are tried
  double max_ulp;
};
// Where a result leaves the normal floats its error is not counted.
constexpr Function kFunctions[] = {
    {"exp", 1e-30f, 88.7f, 2},     {"tanh", 1e-30f, 20.0f, 3},      {"erf", 1e-30f, 6.0f, 2},
    {"sigmoid", 1e-30f, 80.0f, 4}, {"sqrt", 1e-30f, 1e30f, 0.5001}, {"rsqrt", 1e-30f, 1e30f, 1.5},
    {"log", 1e-44f, 1e38f, 2},
};

std::vector<float> spread(float low, float high) {
  std::vector<float> x;
  const uint32_t begin = std::bit_cast<uint32_t>(low), end = std::bit_cast<uint32_t>(high);
  for (uint32_t u = begin; u < end; u += (end - begin) / 500'000 + 1) {
    x.push_back(std::bit_cast<float>(u));
    x.push_back(-x.back());
  }
  return x;
}

double ulps(float got, double want) {
  const float nearest = std::fabs(static_cast<float>(want));
  const double ulp = std::nextafter(nearest, std::numeric_limits<float>::infinity()) - nearest;
  return std::fabs(double(got) - want) / ulp;
}

void check(Backend& backend, const Tactic& tactic, const Function& f) {
  std::vector<float> x = spread(f.low, f.high), y(x.size());
  const int64_t n = static_cast<int64_t>(x.size());
  const OpSignature s =
      make_signature(Op::unary, Attrs().set("kind", f.kind), {{DType::f32, {1, n}}});
  if (!tactic.supports(s)) return;
  const auto kernel = tactic.bind(s);
  BoundLaunch launch{kernel.get(),
                     {{reinterpret_cast<std::byte*>(x.data()), n}},
                     {{reinterpret_cast<std::byte*>(y.data()), n}}};
  backend.run(std::span(&launch, 1), nullptr, StepContext{});
  double worst = 0, worst_x = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double want = activate_double(f.kind, double(x[i]));
    if (std::isnan(want) || std::fabs(want) < 1.2e-38 || std::fabs(want) > 3.4e38) continue;
    const double error = ulps(y[i], want);
    if (!(error <= worst)) worst = error, worst_x = x[i];
  }
  std::printf("%-16s %-8s %6.3f ulp at %.9g\n", std::string(tactic.name()).c_str(), f.kind, worst,
              worst_x);
  EXPECT_LE(worst, f.max_ulp) << tactic.name() << " " << f.kind << " at " << worst_x;
}

TEST(VectorMath, ErrorsAreWithinTheStatedUlps) {
  const auto backend = make_cpu_backend({1, std::string(name(isa_report().best()))});
  for (const Tactic* tactic : backend->tactics(Op::unary))
    for (const Function& f : kFunctions) check(*backend, *tactic, f);
}

}  // namespace
}  // namespace tokamak::test
