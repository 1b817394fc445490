// Weights that stay in host memory: which, where they are put, and that steps compute the same.
#include "runtime/weight_ring.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "api/other_device.h"
#include "base/error_of.h"
#include "runtime/fake_device.h"
#include "runtime/session.h"
#include "runtime/tiny_model.h"
#include "tokamak/llm.h"

namespace tokamak {
namespace {

using test::error_of;
using ::testing::Each;
using ::testing::Ge;
using ::testing::HasSubstr;

constexpr int64_t kPage = kRingAlign;

std::vector<int64_t> layers(int count) {
  std::vector<int64_t> groups;
  for (int i = 0; i < count; ++i)
    for (const int64_t pages : {12, 4, 22, 11}) groups.push_back(pages * kPage);
  return groups;
}

int64_t sum(const std::vector<int64_t>& v) {
  return std::accumulate(v.begin(), v.end(), int64_t{0});
}

TEST(WeightRing, AllStayAtAHundredPercent) {
  const auto groups = layers(32);
  const WeightRing ring = plan_ring(groups, sum(groups), 100);
  EXPECT_EQ(ring.bytes, 0);
  EXPECT_EQ(ring.moved, 0);
  EXPECT_THAT(ring.offsets, Each(-1));
}

TEST(WeightRing, AllThatMayLeaveAtZero) {
  auto groups = layers(8);
  groups.push_back(0);  // one that must stay
  const WeightRing ring = plan_ring(groups, 2 * sum(groups), 0);
  EXPECT_EQ(ring.moved, sum(groups));
  EXPECT_EQ(ring.bytes, 2 * 22 * kPage);
  EXPECT_EQ(ring.offsets.back(), -1);
}

TEST(WeightRing, IsSpreadEvenly) {
  const auto groups = layers(32);
  for (const double percent : {90.0, 60.0, 25.0}) {
    const WeightRing ring = plan_ring(groups, sum(groups), percent);
    const double share = 1 - percent / 100;
    EXPECT_NEAR(static_cast<double>(ring.moved), share * static_cast<double>(sum(groups)),
                22 * kPage);
    // No stretch of steps is away from its part by more than the largest group.
    double due = 0, moved = 0;
    for (size_t i = 0; i < groups.size(); ++i) {
      due += share * static_cast<double>(groups[i]);
      if (ring.offsets[i] >= 0) moved += static_cast<double>(groups[i]);
      EXPECT_NEAR(moved, due, 22 * kPage);
    }
  }
}

TEST(WeightRing, TwoThatFollowDoNotOverlap) {
  const auto groups = layers(16);
  const WeightRing ring = plan_ring(groups, sum(groups), 30);
  int64_t begin = -1, end = -1;
  for (size_t i = 0; i < groups.size(); ++i) {
    const int64_t at = ring.offsets[i];
    if (at < 0) continue;
    EXPECT_LE(at + groups[i], ring.bytes);
    EXPECT_TRUE(at >= end || at + groups[i] <= begin) << "group " << i;
    begin = at;
    end = at + groups[i];
  }
}

TEST(WeightRing, LeavesNothingWhereTheRingWouldBeAsLarge) {
  const std::vector<int64_t> groups = {kPage, kPage};
  EXPECT_EQ(plan_ring(groups, sum(groups), 0).bytes, 0);
}

class HostWeights : public ::testing::TestWithParam<DType> {
 protected:
  static constexpr size_t kMemory = 64 << 20;
  std::filesystem::path engine() {
    BuildOptions o;
    o.tuning = false;
    o.activation_bits = "16";
    testing::FakeDevice device(kMemory);  // its layouts are copied as they are, a CPU's packed anew
    Backend& builder = GetParam() == DType::f32 ? static_cast<Backend&>(device) : *cpu_;
    return testing::build_tiny(folder_.path(), builder, o, GetParam());
  }
  static std::vector<float> logits(Session& session) {
    const std::vector<int32_t> prompt = {1, 5, 9, 2, 300, 17, 44};
    const int32_t sequence = session.add_sequence();
    std::vector<float> all;
    for (const auto& tokens : {prompt, std::vector<int32_t>{7}, std::vector<int32_t>{8}}) {
      const SequenceInput input{sequence, tokens, WantLogits::all};
      const LogitRows rows = session.step({&input, 1});
      all.insert(all.end(), rows.data, rows.data + rows.rows * rows.vocab);
    }
    return all;
  }
  testing::TempDir folder_;
  std::unique_ptr<Backend> cpu_ = make_backend("cpu", 2);
};

// Packed anew (the engine is a CPU's) or copied as stored, the weights arrive.
TEST_P(HostWeights, GiveTheSameLogits) {
  const auto directory = engine();
  testing::FakeDevice all(kMemory);
  SessionOptions whole_options{.kv_tokens = 64};
  whole_options.other_layouts = other_layouts(all);
  Session whole(directory, all, whole_options);
  const std::vector<float> want = logits(whole);
  EXPECT_EQ(all.copied_bytes, 0u);
  for (const double percent : {50.0, 0.0}) {
    testing::FakeDevice some(kMemory);
    MemoryNeed planned;
    SessionOptions options = whole_options;
    options.weights_percent = percent;
    options.on_memory_plan = [&](const MemoryNeed& need) { planned = need; };
    Session session(directory, some, options);
    EXPECT_EQ(logits(session), want);
    EXPECT_LT(planned.weights, whole.memory().weights);
    EXPECT_GT(planned.ring, 0);
    EXPECT_EQ(session.memory().total(), planned.total());
    EXPECT_NEAR(static_cast<double>(some.memory_use()->peak), static_cast<double>(planned.total()),
                0.02 * static_cast<double>(planned.total()) + kRingAlign);
    EXPECT_GE(some.copied_bytes, static_cast<size_t>(2 * planned.host_weights));
    EXPECT_EQ(session.weight_traffic().bytes, planned.host_weights);
    EXPECT_THAT(planned.table(), HasSubstr("of host memory pass in a step"));
  }
}

INSTANTIATE_TEST_SUITE_P(Weights, HostWeights,
                         ::testing::Values(DType::f32, DType::bf16, DType::q8_0),
                         [](const auto& info) { return std::string(name(info.param)); });

using HostWeightsF32 = HostWeights;
INSTANTIATE_TEST_SUITE_P(Weights, HostWeightsF32, ::testing::Values(DType::f32));

// Between what the plan needs with all weights and with the fewest.
TEST_P(HostWeightsF32, AutoTakesWhatFits) {
  const auto directory = engine();
  SessionOptions options{.kv_tokens = 64};
  const auto needs = [&](std::optional<double> percent, size_t memory) {
    testing::FakeDevice device(memory);
    options.weights_percent = percent;
    MemoryNeed need;
    options.on_memory_plan = [&](const MemoryNeed& n) { need = n; };
    Session session(directory, device, options);
    EXPECT_EQ(logits(session).size(), 9u * 320);
    return need;
  };
  options.kv_tokens = 2048;
  const MemoryNeed most = needs(100, kMemory), least = needs(0, kMemory);
  ASSERT_LT(least.total() + 100'000, most.total());
  EXPECT_EQ(needs(std::nullopt, kMemory).host_weights, 0);
  options.kv_tokens = 64;  // as few as asked for are enough
  EXPECT_EQ(needs(std::nullopt, kMemory).host_weights, 0);
  options.kv_tokens = 2048;
  const auto between = static_cast<size_t>((most.total() + least.total()) / 2);
  const MemoryNeed some = needs(std::nullopt, between);
  EXPECT_LE(some.total(), static_cast<int64_t>(between));
  EXPECT_GT(some.host_weights, 0);
  EXPECT_LT(some.host_weights, least.host_weights);
}

TEST_P(HostWeightsF32, ErrorsNameTheFlag) {
  const auto directory = engine();
  testing::FakeDevice small(300 << 10);
  EXPECT_THAT(error_of([&] { Session(directory, small); }), HasSubstr("--gpu_weights_percent"));
  testing::FakeDevice device(kMemory);
  EXPECT_THAT(error_of([&] { Session(directory, device, {.weights_percent = 101}); }),
              HasSubstr("--gpu_weights_percent is 101"));
  EXPECT_THAT(error_of([&] { Session(directory, *cpu_, {.weights_percent = 50}); }),
              HasSubstr("--device cuda"));
  EXPECT_THAT(error_of([&] { LLM(directory, {.gpu_weights_percent = "most"}); }),
              HasSubstr("--gpu_weights_percent 'most'"));
}

}  // namespace
}  // namespace tokamak
