// Every tactic of the CUDA backend against the same table, where there is a device.
#include <gtest/gtest.h>

#include <cstdlib>
#include <set>

#include "backend/cuda_plugin.h"
#include "trial.h"

namespace tokamak::test {
namespace {

constexpr uint64_t kSeed = 20261121;

// Null, with the reason, where this machine has none.
Backend* cuda(std::string* reason = nullptr) {
  static std::string why;
  static const std::unique_ptr<Backend> backend = []() -> std::unique_ptr<Backend> {
    try {
      return load_cuda_backend();
    } catch (const Error& e) {
      why = e.what();
      return nullptr;
    }
  }();
  if (reason) *reason = why;
  return backend.get();
}

class CudaOpTable : public testing::TestWithParam<OpRow> {};

TEST_P(CudaOpTable, EveryTacticMatchesTheReference) {
  std::string why;
  if (!cuda(&why)) {
    ASSERT_EQ(std::getenv("TOKAMAK_NEED_CUDA"), nullptr) << why;
    GTEST_SKIP() << why;
  }
  const OpRow& row = GetParam();
  std::printf("seed %llu\n", static_cast<unsigned long long>(kSeed));
  uint64_t seed = kSeed;
  std::set<std::string> failed, ran;
  const auto shapes = row.op == Op::attention ? attention_step_shapes() : step_shapes();
  for (const OpSignature& s : some_of(row.signatures()))
    for (const StepShape& shape : shapes)
      for (const Fill fill : {Fill::gaussian, Fill::outliers, Fill::nonfinite}) {
        if (fill == Fill::nonfinite && !row.nonfinite(s)) continue;
        Trial trial(row, s, shape, fill, ++seed);
        for (const Tactic* t : cuda()->tactics(s.op)) {
          if (!t->supports(s) || failed.count(std::string(t->name()))) continue;
          ran.insert(std::string(t->name()));
          if (!trial.check(*cuda(), *t, seed % 2 == 1)) failed.insert(std::string(t->name()));
        }
      }
  std::string names;
  for (const std::string& n : ran) names += " " + n;
  std::printf("tactics:%s\n", names.c_str());
  EXPECT_FALSE(ran.empty());
}

INSTANTIATE_TEST_SUITE_P(All, CudaOpTable, testing::ValuesIn(op_table()),
                         [](const auto& i) { return std::string(name(i.param.op)); });

}  // namespace
}  // namespace tokamak::test
