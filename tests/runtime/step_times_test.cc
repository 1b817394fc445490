// What steps take, by their tokens.
#include "runtime/scheduler/step_times.h"

#include <gtest/gtest.h>

#include <random>

namespace tokamak {
namespace {

TEST(StepTimes, FindsTheLineThroughNoise) {
  StepTimes t;
  EXPECT_FALSE(t.known());
  EXPECT_EQ(t.prompts_beside(16), StepTimes::kUntilKnown);
  std::mt19937 random(1);
  std::uniform_real_distribution<double> noise(0.95, 1.05);
  for (int i = 0; i < 200; ++i) {
    const int64_t tokens = i % 3 == 0 ? 60 : 16;
    t.note(tokens, (0.005 + 0.001 * static_cast<double>(tokens)) * noise(random));
    if (i == 150) t.note(16, 10);  // the machine was away
  }
  ASSERT_TRUE(t.known());
  EXPECT_NEAR(t.seconds(16), 0.021, 0.002);
  EXPECT_NEAR(t.seconds(60), 0.065, 0.005);
  // Twice 21 ms: 37 tokens in all.
  EXPECT_NEAR(static_cast<double>(t.prompts_beside(16)), 21, 4);
  // Beside one: 40 ms.
  EXPECT_NEAR(static_cast<double>(t.prompts_beside(1)), 34, 5);
}

TEST(StepTimes, FollowsAMachineThatChanges) {
  StepTimes t;
  for (int i = 0; i < 300; ++i) t.note(8 + i % 32, 0.001 * (8 + i % 32));
  for (int i = 0; i < 300; ++i) t.note(8 + i % 32, 0.002 * (8 + i % 32));
  EXPECT_NEAR(t.seconds(20), 0.04, 0.002);
}

TEST(StepTimes, SaysSomethingOfAnything) {
  StepTimes falling, flat, one;
  for (int i = 0; i < 50; ++i) {
    falling.note(10 + i % 20, 1.0 / (10 + i % 20));
    flat.note(10 + i % 20, 0.01);
    one.note(16, 0.01);
  }
  for (const StepTimes* t : {&falling, &flat, &one})
    EXPECT_GE(t->prompts_beside(16), StepTimes::kLeast);
  EXPECT_GT(flat.prompts_beside(16), 1000);  // prompts cost nothing
  EXPECT_FALSE(one.known());
}

}  // namespace
}  // namespace tokamak
