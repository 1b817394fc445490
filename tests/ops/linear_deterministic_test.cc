// deterministic linear ops: a token's result has the same bits alone and among others, whatever
// their number and that of the workers, for every tactic that takes the attribute.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>

#include "backend/cpu/cpu_backend.h"
#include "backend/cpu/cpu_tactic.h"
#include "launcher.h"
#include "op_table.h"
#include "ops/linear.h"

namespace tokamak::test {
namespace {

constexpr uint64_t kSeed = 20261121;
constexpr int64_t kMostTokens = 37, kOutputs = 83;
constexpr DType kWeights[] = {DType::f32,       DType::f16,       DType::bf16,      DType::q4_0,
                              DType::q4_1,      DType::q5_1,      DType::q8_0,      DType::q2_k,
                              DType::q3_k,      DType::q4_k,      DType::q6_k,      DType::int8_row,
                              DType::int8a_g64, DType::int4_g128, DType::int4a_row, DType::f8_row};

OpSignature signature_of(Op op, DType w, int64_t k, int64_t activation_bits) {
  LinearAttrs a;
  a.activation = op == Op::linear_glu ? Activation::silu : Activation::none;
  a.has_bias = true;
  a.activation_bits = activation_bits;
  a.deterministic = true;
  const ValueType weight{w, {kOutputs, k}, true}, bias{DType::f32, {kOutputs}, true};
  std::vector<ValueType> in = {{DType::f32, {Symbol::tokens, k}}, weight};
  if (op == Op::linear_glu) in.push_back(weight);
  in.push_back(bias);
  if (op == Op::linear_glu) in.push_back(bias);
  return make_signature(op, a.to_attrs(), in);
}

class Deterministic : public testing::TestWithParam<DType> {
 protected:
  static Backend& backend(Isa level, int workers) {
    static std::map<std::pair<Isa, int>, std::unique_ptr<Backend>> made;
    auto& b = made[{level, workers}];
    if (!b) b = make_cpu_backend({workers, std::string(name(level)), true, 0});
    return *b;
  }

  // The output rows' bytes for tokens [begin, begin + count).
  std::vector<std::byte> rows(Isa level, std::string_view tactic, int workers, int64_t begin,
                              int64_t count) {
    std::vector<HostTensor> in = inputs_;
    const size_t row = static_cast<size_t>(in[0].width()) * 4;
    in[0].shape[0] = count;
    in[0].bytes.assign(inputs_[0].bytes.begin() + static_cast<int64_t>(row) * begin,
                       inputs_[0].bytes.begin() + static_cast<int64_t>(row) * (begin + count));
    in[0].values.resize(static_cast<size_t>(count * in[0].width()));
    TestStep step({"", {0}, {static_cast<int>(count)}}, 10, 0, 0, rng_);
    Backend& b = backend(level, workers);
    const LaunchResult r =
        run_tactic(b, *find_tactic(b, signature_.op, tactic), signature_, in, step, false);
    EXPECT_EQ(r.damage, "");
    return r.outputs[0].bytes;
  }

  void check(Isa level, const std::string& tactic) {
    std::vector<std::byte> alone;
    for (int64_t t = 0; t < kMostTokens; ++t) {
      const auto row = rows(level, tactic, 1, t, 1);
      alone.insert(alone.end(), row.begin(), row.end());
    }
    const size_t width = kOutputs * 4;
    for (const int64_t count : {2, 3, 5, 8, 13, 24, 37})
      for (const int workers : {1, 3}) {
        const int64_t begin = count % 3;
        const int64_t n = std::min(count, kMostTokens - begin);
        const auto got = rows(level, tactic, workers, begin, n);
        for (int64_t t = 0; t < n; ++t)
          ASSERT_EQ(std::memcmp(&got[static_cast<size_t>(t) * width],
                                &alone[static_cast<size_t>(begin + t) * width], width),
                    0)
              << "row " << t << " of " << n << ", " << workers << " workers";
      }
  }

  OpSignature signature_;
  std::vector<HostTensor> inputs_;
  Rng rng_{kSeed};
};

TEST_P(Deterministic, ARowDoesNotDependOnTheOthers) {
  const int64_t step = std::max(row_step(GetParam()), 32);
  for (const Op op : {Op::linear, Op::linear_glu})
    for (const int64_t k : {step, 9 * step})
      for (const int64_t bits : {16, 8}) {
        if (bits == 8 && !is_block_format(GetParam())) continue;
        signature_ = signature_of(op, GetParam(), k, bits);
        inputs_.clear();
        for (const ValueType& t : signature_.inputs)
          inputs_.push_back(random_tensor(t, kMostTokens, 1, Fill::outliers, rng_));
        for (const Tactic* t : backend(isa_report().best(), 1).tactics(op)) {
          const auto* cpu = dynamic_cast<const CpuTactic*>(t);
          const Isa level = cpu != nullptr ? cpu->level() : isa_report().best();
          if (!t->supports(signature_) || level == Isa::reference) continue;
          SCOPED_TRACE(testing::Message() << t->name() << " k " << k << " seed " << kSeed);
          check(std::min(level, isa_report().best()), std::string(t->name()));
          if (HasFatalFailure()) return;
        }
      }
}

INSTANTIATE_TEST_SUITE_P(Weights, Deterministic, testing::ValuesIn(kWeights),
                         [](const auto& i) { return std::string(name(i.param)); });

}  // namespace
}  // namespace tokamak::test
