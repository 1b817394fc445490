// Features that meet in one executor: whatever they do to each other, a request gets the tokens
// that it gets alone.
#include <random>

#include "base/error.h"
#include "runtime/executor_fixture.h"
#include "runtime/fake_device.h"

namespace tokamak {
namespace {

class ExecutorMatrix : public testing::TinyExecutorTest {
 protected:
  // Prompts that begin alike; single outputs, samples, the best of several, beams, processors.
  static ExecutorRequest request(std::mt19937& random) {
    ExecutorRequest r;
    r.tokens = testing::random_prompt(random, 50);
    SamplingParams& p = r.params;
    p.temperature = random() % 3 ? 0.8 : 0;
    p.seed = random();
    p.top_k = random() % 2 ? 20 : 0;
    p.repetition_penalty = random() % 3 ? 1 : 1.2;
    p.max_tokens = 1 + static_cast<int64_t>(random() % 31);
    if (random() % 3 == 0)
      for (int i = 0; i < 20; ++i) p.stop_token_ids.push_back(static_cast<int32_t>(random() % 320));
    switch (random() % 6) {
      case 0:
        p.n = 2 + static_cast<int64_t>(random() % 3);
        break;
      case 1:
        p.best_of = 3;
        break;
      case 2:
      case 3:
        p.beam_width = 2 + static_cast<int64_t>(random() % 3);
        p.n = 1 + static_cast<int64_t>(random() % 2);
        p.length_penalty = random() % 2;
        p.early_stopping = static_cast<int>(random() % 3);
        break;
      default:
        break;
    }
    if (random() % 5 == 0)
      r.logits_processor = [](std::span<float> logits, std::span<const int32_t> output) {
        logits[(output.size() * 37) % 320] += 5;
      };
    if (random() % 8 == 0) r.prompt_logprobs = 0;
    if (random() % 5 == 0 && p.beam_width == 1) p.guide = testing::letters_guide();
    r.priority = static_cast<int32_t>(random() % 3);
    r.cache_salt = random() % 2;
    return r;
  }

  struct Totals {
    int64_t schedules = 0, preemptions = 0, reused = 0, to_host = 0, from_host = 0;
  };
  void run(Session& session, const ExecutorOptions& options,
           std::span<const ExecutorRequest> requests, std::span<const ExecutorResult> expected,
           Totals& totals) {
    Executor executor(session, options);
    std::vector<uint64_t> ids;
    for (const ExecutorRequest& r : requests) ids.push_back(executor.enqueue(r));
    for (size_t i = 0; i < ids.size(); ++i) {
      const ExecutorResult result = executor.await(ids[i]);
      ASSERT_EQ(result.error, "");
      EXPECT_EQ(tokens_of(result), tokens_of(expected[i])) << "request " << i;
      ASSERT_EQ(result.prompt_logprobs.size(), expected[i].prompt_logprobs.size());
      for (size_t k = 0; k < result.prompt_logprobs.size(); ++k)
        EXPECT_EQ(result.prompt_logprobs[k].token, expected[i].prompt_logprobs[k].token);
      ++totals.schedules;
    }
    const ExecutorStats stats = executor.stats();
    EXPECT_EQ(stats.kv_blocks_used, 0) << "blocks are lost";
    totals.preemptions += stats.preemptions;
    totals.reused += stats.reused_tokens;
    totals.to_host += stats.kv_blocks_to_host;
    totals.from_host += stats.kv_blocks_from_host;
  }
};

// reuse × chunks × capacity × host memory × KV dtype, over requests of all kinds.
TEST_F(ExecutorMatrix, EveryRequestGetsItsOwnTokens) {
  Totals totals;
  for (const char* kv_dtype : {"float32", "int8"}) {
    std::mt19937 random(77);
    std::vector<ExecutorRequest> requests;
    std::vector<ExecutorResult> expected;
    Session reference(engine(kv_dtype), *backend_, session_options(4000));
    for (int i = 0; i < 40; ++i) {
      requests.push_back(request(random));
      expected.push_back(alone(reference, requests.back()));
    }
    for (int bits = 0; bits < 16; ++bits) {
      ExecutorOptions o;
      o.max_batch_size = 14;
      o.enable_block_reuse = bits & 1;
      o.max_num_tokens = bits & 2 ? 16 : 0;
      o.max_prefill_tokens = bits & 2 ? -1 : 0;
      o.context_chunking_policy = bits & 2 ? "equal_progress" : "first_come_first_served";
      o.batch_scheduler_policy = bits & 4 ? "max_utilization" : "guaranteed_no_evict";
      o.kv_cache_host_memory_bytes = bits & 8 ? 200 << 10 : 0;
      SCOPED_TRACE(std::string(kv_dtype) + " options " + std::to_string(bits));
      Session session(engine(kv_dtype), *backend_, session_options(208));
      run(session, o, requests, expected, totals);
    }
  }
  std::printf(
      "%lld requests, %lld gave way, %lld tokens reused, %lld blocks to the host, %lld back\n",
      static_cast<long long>(totals.schedules), static_cast<long long>(totals.preemptions),
      static_cast<long long>(totals.reused), static_cast<long long>(totals.to_host),
      static_cast<long long>(totals.from_host));
  EXPECT_GE(totals.schedules, 500);
  EXPECT_GT(totals.preemptions, 20);
  EXPECT_GT(totals.reused, 500);
  EXPECT_GT(totals.to_host, 20);
  EXPECT_GT(totals.from_host, 10);
}

// The same where device memory is not the host's.
TEST_F(ExecutorMatrix, BlocksTravelBetweenDeviceAndHost) {
  testing::FakeDevice device(size_t{64} << 20);
  std::mt19937 random(78);
  std::vector<ExecutorRequest> requests;
  std::vector<ExecutorResult> expected;
  BuildOptions build;
  build.tuning = false;
  build.deterministic = true;
  const auto engine = testing::build_tiny(folder_->path(), device, build, DType::f32, "fake");
  Session reference(engine, device, session_options(4000));
  for (int i = 0; i < 24; ++i) {
    requests.push_back(request(random));
    expected.push_back(alone(reference, requests.back()));
  }
  Totals totals;
  Session session(engine, device, session_options(208));
  ExecutorOptions o;
  o.max_batch_size = 14;
  o.batch_scheduler_policy = "max_utilization";
  o.kv_cache_host_memory_bytes = 1 << 20;
  run(session, o, requests, expected, totals);
  EXPECT_GT(totals.preemptions, 0);
  EXPECT_GT(totals.to_host, 5);
  EXPECT_GT(totals.from_host, 0);
}

// Waste over a mixed load with blocks of the default size: what the last, partly filled ones hold
// too little.
TEST_F(ExecutorMatrix, LittleRoomIsWasted) {
  Session session(engine(), *backend_, session_options(6000, 0));
  Executor executor(session, {.max_batch_size = 24});
  std::mt19937 random(79);
  std::vector<uint64_t> ids;
  for (int i = 0; i < 48; ++i) {
    ExecutorRequest r;
    const auto length = 40 + random() % 500;
    for (uint64_t k = 0; k < length; ++k) r.tokens.push_back(static_cast<int32_t>(random() % 320));
    r.params.max_tokens = 10 + static_cast<int64_t>(random() % 60);
    r.params.seed = random();
    ids.push_back(executor.enqueue(r));
  }
  for (const uint64_t id : ids) EXPECT_EQ(executor.await(id).error, "");
  const ExecutorStats stats = executor.stats();
  std::printf("%.2f %% of the room in used KV blocks was empty\n", 100 * stats.kv_waste);
  EXPECT_GT(stats.kv_waste, 0);
  EXPECT_LT(stats.kv_waste, 0.04);
}

}  // namespace
}  // namespace tokamak
