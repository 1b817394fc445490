// Engines on a device that they were not built for, and what is promised about its memory.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/other_device.h"
#include "base/error_of.h"
#include "runtime/fake_device.h"
#include "runtime/session.h"
#include "runtime/tiny_model.h"

namespace tokamak {
namespace {

using test::error_of;
using ::testing::HasSubstr;

constexpr size_t kMemory = 64 << 20;

std::vector<float> logits(Session& session) {
  const std::vector<int32_t> prompt = {1, 5, 9, 2, 300, 17, 44};
  const SequenceInput input{session.add_sequence(), prompt, WantLogits::all};
  const LogitRows rows = session.step({&input, 1});
  return {rows.data, rows.data + rows.rows * rows.vocab};
}

void expect_close(const std::vector<float>& a, const std::vector<float>& b) {
  ASSERT_EQ(a.size(), b.size());
  // bfloat16 activations, rounded in other places.
  for (size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a[i], b[i], 4e-2f) << "at " << i;
}

BuildOptions untuned() {
  BuildOptions o;
  o.tuning = false;
  o.activation_bits = "16";
  return o;
}

class OtherDevice : public ::testing::TestWithParam<DType> {};

// Weights packed for a CPU are unpacked with its layouts and packed anew.
TEST_P(OtherDevice, RunsAnEngineOfTheCpu) {
  const testing::TempDir folder;
  const auto cpu = make_backend("cpu", 2);
  const auto engine = testing::build_tiny(folder.path(), *cpu, untuned(), GetParam());
  Session here(engine, *cpu);
  testing::FakeDevice device(kMemory);
  SessionOptions options{.kv_tokens = 256};
  options.other_layouts = other_layouts(device);
  Session there(engine, device, options);
  expect_close(logits(there), logits(here));
  EXPECT_GT(there.program().repacked_bytes(), 0);
}

TEST_P(OtherDevice, TunesTheEngineAgain) {
  const testing::TempDir folder;
  const auto cpu = make_backend("cpu", 2);
  const auto engine = testing::build_tiny(folder.path(), *cpu, untuned(), GetParam());
  Session here(engine, *cpu);
  testing::FakeDevice device(kMemory);
  ASSERT_TRUE(needs_tuning(here.config(), device));
  EXPECT_FALSE(needs_tuning(here.config(), *cpu));
  SessionOptions options{.kv_tokens = 256};
  options.other_layouts = other_layouts(device);
  const auto cache = folder.path() / "cache" / "timing.cache";
  options.prepare = [&](EngineFile& file, const EngineConfig& config) {
    tune_again(file, config, device, options.other_layouts, cache);
  };
  Session there(engine, device, options);
  expect_close(logits(there), logits(here));
  for (const PlanStep& s : there.plan().steps)
    for (const TacticChoice& c : s.choices) {
      EXPECT_THAT(c.tactic, ::testing::EndsWith(".reference"));
      EXPECT_GT(c.us, 0);
    }
  EXPECT_TRUE(std::filesystem::exists(cache));
}

// Made when it is opened, the weights are those that a build packs.
TEST_P(OtherDevice, MakesRandomWeightsInPlace) {
  const testing::TempDir folder;
  const auto cpu = make_backend("cpu", 2);
  const auto packed = testing::build_tiny(folder.path(), *cpu, untuned(), GetParam(), "packed");
  BuildOptions o = untuned();
  o.weights_at_open = true;
  const auto generated = testing::build_tiny(folder.path(), *cpu, o, GetParam(), "generated");
  EXPECT_LT(std::filesystem::file_size(generated / "rank0.engine"),
            std::filesystem::file_size(packed / "rank0.engine"));
  Session a(packed, *cpu), b(generated, *cpu);
  const std::vector<float> want = logits(a);
  EXPECT_EQ(logits(b), want);
  testing::FakeDevice device(kMemory);
  Session there(generated, device, {.kv_tokens = 256});
  expect_close(logits(there), want);
}

// GPUs of one architecture and different names: the other one's times say nothing.
TEST(OtherGpu, TunesAgainWithOneNotice) {
  const testing::TempDir folder;
  testing::FakeDevice h100(kMemory, "NVIDIA H100"), h200(kMemory, "NVIDIA H200");
  BuildOptions tuned;
  tuned.activation_bits = "16";
  const auto engine = testing::build_tiny(folder.path(), h100, tuned);
  const auto cache = folder.path() / "cache" / "timing.cache";
  const auto open = [&](Backend& device, bool tuning) {
    SessionOptions options{.kv_tokens = 256};
    if (tuning && needs_tuning(read_engine_config(engine), device))
      options.prepare = [&](EngineFile& file, const EngineConfig& config) {
        tune_again(file, config, device, other_layouts(device), cache);
      };
    ::testing::internal::CaptureStderr();
    Session session(engine, device, options);
    const std::vector<float> result = logits(session);
    return std::pair(result, ::testing::internal::GetCapturedStderr());
  };
  const auto [want, quiet] = open(h100, true);
  EXPECT_THAT(quiet, ::testing::Not(HasSubstr("was built for")));
  for (const bool tuning : {true, false}) {
    const auto [have, notice] = open(h200, tuning);
    EXPECT_EQ(have, want);
    const size_t at = notice.find("was built for NVIDIA H100 (fake)");
    ASSERT_NE(at, std::string::npos) << notice;
    EXPECT_EQ(notice.find("was built for", at + 1), std::string::npos);
    EXPECT_THAT(notice, HasSubstr("NVIDIA H200"));
    EXPECT_EQ(notice.find("tuned again") != std::string::npos, tuning);
    EXPECT_TRUE(std::filesystem::exists(cache));
  }
}

INSTANTIATE_TEST_SUITE_P(Weights, OtherDevice,
                         ::testing::Values(DType::f32, DType::bf16, DType::q8_0, DType::q4_1,
                                           DType::f8_row),
                         [](const auto& info) { return std::string(name(info.param)); });

TEST(DeviceMemory, IsWhatThePlanSaid) {
  const testing::TempDir folder;
  testing::FakeDevice device(kMemory);
  const auto engine = testing::build_tiny(folder.path(), device, untuned());
  MemoryNeed planned;
  SessionOptions options;
  options.on_memory_plan = [&](const MemoryNeed& need) { planned = need; };
  Session session(engine, device, options);
  EXPECT_EQ(session.memory().total(), planned.total());
  EXPECT_EQ(session.memory().kv_tokens, planned.kv_tokens);
  logits(session);
  const auto use = *device.memory_use();
  const auto total = static_cast<double>(planned.total());
  EXPECT_NEAR(static_cast<double>(use.peak), total, 0.02 * total);
  // 90 % of what the rest leaves are for keys and values.
  const double left = kMemory - total + planned.kv_per_token * planned.kv_tokens;
  EXPECT_NEAR(static_cast<double>(planned.kv_per_token * planned.kv_tokens), 0.9 * left,
              0.01 * left);
}

TEST(DeviceMemory, FullKvCacheNamesTheFlag) {
  const testing::TempDir folder;
  testing::FakeDevice device(kMemory);
  const auto engine = testing::build_tiny(folder.path(), device, untuned());
  Session session(engine, device, {.kv_memory_fraction = 0.001});
  const auto room = static_cast<size_t>(session.memory().kv_tokens);
  const std::vector<int32_t> prompt(room + 1, 7);
  const SequenceInput input{session.add_sequence(), prompt};
  EXPECT_THAT(error_of([&] {
                session.step({&input, 1});
              }),
              HasSubstr("--kv_cache_free_gpu_mem_fraction"));
  EXPECT_FALSE(logits(session).empty());  // nothing is lost
}

TEST(DeviceMemory, TooLittleIsOneErrorWithThePlan) {
  const testing::TempDir folder;
  testing::FakeDevice large(kMemory), small(300 << 10);
  const auto engine = testing::build_tiny(folder.path(), large, untuned());
  const std::string error = error_of([&] { Session(engine, small); });
  EXPECT_THAT(error, HasSubstr("not enough GPU memory"));
  EXPECT_THAT(error, HasSubstr("weights 0."));
  EXPECT_THAT(error, HasSubstr("--max_num_tokens"));
  EXPECT_EQ(small.memory_use()->peak, 0u);
  const std::string kv = error_of([&] { Session(engine, large, {.kv_tokens = int64_t{1} << 24}); });
  EXPECT_THAT(kv, HasSubstr("--kv_cache_tokens"));
}

}  // namespace
}  // namespace tokamak
