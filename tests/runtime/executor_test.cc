// Many requests through one model: each gets what it gets alone, whatever else runs.
#include <gmock/gmock.h>

#include <atomic>
#include <chrono>
#include <random>
#include <thread>

#include "base/error.h"
#include "runtime/executor_fixture.h"
#include "runtime/sampling_backend.h"

namespace tokamak {
namespace {

using ::testing::HasSubstr;

class ExecutorTest : public testing::TinyExecutorTest {
 protected:
  // Some prompts begin alike, some requests draw, some stop early.
  static ExecutorRequest request(std::mt19937& random) {
    ExecutorRequest r;
    r.tokens = testing::random_prompt(random, 60);
    r.params.temperature = random() % 2 ? 0.8 : 0;
    r.params.seed = random();
    r.params.top_k = random() % 2 ? 20 : 0;
    r.params.repetition_penalty = random() % 3 ? 1 : 1.2;
    r.params.max_tokens = 1 + static_cast<int64_t>(random() % 12);
    if (random() % 3 == 0) r.params.stop_token_ids = {static_cast<int32_t>(random() % 320)};
    r.priority = static_cast<int32_t>(random() % 3);
    r.cache_salt = random() % 2;
    return r;
  }
  // What a greedy device chooses for.
  static ExecutorRequest plain_request(std::mt19937& random) {
    ExecutorRequest r = request(random);
    r.params.temperature = 0;
    r.params.repetition_penalty = 1;
    return r;
  }
};

TEST_F(ExecutorTest, EveryRequestGetsItsOwnTokens) {
  std::mt19937 random(20);
  Session reference(engine(), *backend_, session_options(0));
  std::vector<ExecutorRequest> requests;
  std::vector<std::vector<int32_t>> expected;
  for (int i = 0; i < 125; ++i) {
    requests.push_back(request(random));
    expected.push_back(sampled(reference, requests.back()));
  }
  int64_t preemptions = 0, reused = 0;
  for (const char* policy : {"guaranteed_no_evict", "max_utilization"}) {
    for (const bool reuse : {true, false}) {
      SCOPED_TRACE(std::string(policy) + (reuse ? ", reuse" : ""));
      Session session(engine(), *backend_, session_options(200));
      ExecutorOptions o;
      o.max_batch_size = 7;
      o.max_num_tokens = 24;
      o.batch_scheduler_policy = policy;
      o.context_chunking_policy = reuse ? "equal_progress" : "first_come_first_served";
      o.enable_block_reuse = reuse;
      Executor executor(session, o);
      std::vector<uint64_t> ids;
      for (const ExecutorRequest& r : requests) ids.push_back(executor.enqueue(r));
      for (size_t i = 0; i < ids.size(); ++i) {
        const ExecutorResult result = executor.await(ids[i]);
        EXPECT_EQ(result.tokens, expected[i]) << "request " << i << " " << result.error;
        const bool stopped = result.finish_reason == "stop";
        EXPECT_TRUE(stopped || result.finish_reason == "length") << result.finish_reason;
      }
      const ExecutorStats stats = executor.stats();
      preemptions += stats.preemptions;
      reused += stats.reused_tokens;
      EXPECT_EQ(stats.finished, 125);
      EXPECT_EQ(stats.kv_blocks_used, 0) << "blocks are lost";
      EXPECT_EQ(stats.waiting + stats.running, 0);
    }
  }
  EXPECT_GT(preemptions, 0);
  EXPECT_GT(reused, 100);
}

// Greedy requests on a device that chooses; one whose penalty needs the host brings its step there.
TEST_F(ExecutorTest, TheDeviceChoosesWhereItCan) {
  std::mt19937 random(21);
  testing::SamplingBackend device(*backend_);
  Session reference(engine(), *backend_, session_options(0));
  Session session(engine(), device, session_options(4000));
  Executor executor(session);
  std::vector<uint64_t> ids;
  std::vector<std::vector<int32_t>> expected;
  for (int i = 0; i < 24; ++i) {
    ExecutorRequest r = request(random);
    r.params.temperature = 0;
    r.params.repetition_penalty = i % 8 == 7 ? 1.2 : 1;
    expected.push_back(sampled(reference, r));
    ids.push_back(executor.enqueue(r));
  }
  for (size_t i = 0; i < ids.size(); ++i)
    EXPECT_EQ(executor.await(ids[i]).tokens, expected[i]) << "request " << i;
  EXPECT_GT(device.choices(), 0);
  EXPECT_EQ(executor.stats().kv_blocks_used, 0);
}

// Steps that start before the last one's tokens are known give the same tokens, with prompts in
// chunks, shared prefixes, requests that give way, stop or are cancelled meanwhile.
TEST_F(ExecutorTest, StepsRunAheadOfTheHost) {
  std::mt19937 random(22);
  testing::SamplingBackend device(*backend_);
  Session reference(engine(), *backend_, session_options(0));
  for (const char* policy : {"guaranteed_no_evict", "max_utilization"}) {
    Session session(engine(), device, session_options(400));
    ExecutorOptions options;
    options.batch_scheduler_policy = policy;
    options.max_num_tokens = 24;
    Executor executor(session, options);
    std::vector<uint64_t> ids;
    std::vector<std::vector<int32_t>> expected;
    for (int i = 0; i < 60; ++i) {
      ExecutorRequest r = plain_request(random);
      expected.push_back(sampled(reference, r));
      if (i % 3 == 0) {  // ends early
        const int32_t stop = expected.back()[expected.back().size() / 2];
        r.params.ignore_eos = false;
        r.params.stop_token_ids = {stop};
        const auto at = std::ranges::find(expected.back(), stop);
        expected.back().erase(at + 1, expected.back().end());
      }
      ids.push_back(executor.enqueue(r));
      if (i % 10 == 9) executor.cancel(executor.enqueue(plain_request(random)));
    }
    for (size_t i = 0; i < ids.size(); ++i)
      EXPECT_EQ(executor.await(ids[i]).tokens, expected[i]) << "request " << i << ", " << policy;
    const ExecutorStats stats = executor.stats();
    EXPECT_EQ(stats.kv_blocks_used, 0);
    EXPECT_EQ(stats.failed, 0);
  }
  EXPECT_GT(device.fed(), 100);
}

TEST_F(ExecutorTest, CancelledAndLateRequestsFreeTheirBlocks) {
  Session session(engine(), *backend_, session_options(2000));
  Executor executor(session);
  ExecutorRequest r;
  r.tokens = {1, 2, 3};
  r.params.max_tokens = 1500;
  r.params.temperature = 0;
  std::atomic<int> tokens = 0;
  std::atomic<bool> ended = false;
  std::string reason;
  uint64_t id = 0;
  id = executor.enqueue(r, [&](const ExecutorEvent& e) {
    if (e.token) ++tokens;
    if (!e.last()) return;
    reason = e.finish_reason;
    ended = true;
  });
  while (tokens < 3) std::this_thread::yield();
  executor.cancel(id);
  while (!ended) std::this_thread::yield();
  EXPECT_EQ(reason, "cancelled");
  executor.cancel(id);
  r.timeout_s = 0;
  EXPECT_EQ(executor.await(executor.enqueue(r)).finish_reason, "timeout");
  r.timeout_s = {};
  r.params.max_tokens = 2;
  EXPECT_EQ(executor.await(executor.enqueue(r)).tokens.size(), 2u);
  EXPECT_EQ(executor.stats().kv_blocks_used, 0);
  EXPECT_EQ(executor.stats().cancelled, 1);
}

TEST_F(ExecutorTest, AFailedStepFailsItsRequestsAlone) {
  Session session(engine(), *backend_, session_options(500));
  std::atomic<bool> broken = true;
  session.set_launch_hook([&] {
    if (broken) fail("injected");
  });
  Executor executor(session);
  ExecutorRequest r;
  r.tokens = {5, 6, 7};
  r.params.max_tokens = 4;
  const ExecutorResult bad = executor.await(executor.enqueue(r));
  EXPECT_EQ(bad.finish_reason, "error");
  EXPECT_THAT(bad.error, HasSubstr("injected"));
  broken = false;
  EXPECT_EQ(executor.await(executor.enqueue(r)).tokens.size(), 4u);
  EXPECT_EQ(executor.stats().failed, 1);
  EXPECT_EQ(executor.stats().kv_blocks_used, 0);
}

TEST_F(ExecutorTest, RefusesAtOnceWhatCannotRun) {
  Session session(engine(), *backend_, session_options(64));
  Executor executor(session);
  ExecutorRequest r;
  EXPECT_THROW(executor.enqueue(r), Error);
  r.tokens = {400};
  EXPECT_THROW(executor.enqueue(r), Error);
  r.tokens.assign(60, 1);
  r.params.max_tokens = 30;
  EXPECT_THROW(executor.enqueue(r), Error);
  r.params.max_tokens = 2;
  r.params.top_p = 7;
  EXPECT_THROW(executor.enqueue(r), Error);
  EXPECT_THROW(executor.await(99), Error);
  ExecutorOptions bad;
  bad.batch_scheduler_policy = "best";
  EXPECT_THROW(Executor(session, bad), Error);
}

}  // namespace
}  // namespace tokamak
