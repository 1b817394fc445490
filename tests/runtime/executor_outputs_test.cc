// Several outputs of one request, and what else a request may ask for.
#include <gmock/gmock.h>

#include <atomic>
#include <cmath>
#include <optional>
#include <random>

#include "base/error.h"
#include "runtime/executor_fixture.h"
#include "runtime/fake_device.h"
#include "runtime/sampler.h"
#include "runtime/sampling_backend.h"

namespace tokamak {
namespace {

using ::testing::HasSubstr;

class ExecutorOutputs : public testing::TinyExecutorTest {
 protected:
  static ExecutorRequest request(int64_t max_tokens = 12) {
    ExecutorRequest r;
    for (int i = 0; i < 13; ++i) r.tokens.push_back(i * 7 % 320);
    r.params.seed = 5;
    r.params.max_tokens = max_tokens;
    return r;
  }
};

TEST_F(ExecutorOutputs, SamplesAreThoseOfSingleRequests) {
  Session session(engine(), *backend_, session_options(2000));
  ExecutorRequest r = request();
  r.params.stop_token_ids = {3, 17, 40, 99, 120, 150, 200, 201, 202, 203, 204, 205, 280, 300};
  r.params.n = 5;
  r.params.logprobs = 2;
  const ExecutorResult together = alone(session, r);
  ASSERT_EQ(together.others.size(), 4u);
  r.params.n = 1;
  for (size_t k = 0; k < 5; ++k) {
    r.params.seed = 5 + k;
    const ExecutorResult one = alone(session, r);
    const ExecutorOutput& sample = k == 0 ? together : together.others[k - 1];
    EXPECT_EQ(sample.tokens, one.tokens) << "sample " << k;
    EXPECT_EQ(sample.finish_reason, one.finish_reason);
    ASSERT_EQ(sample.logprobs.size(), one.tokens.size());
    EXPECT_EQ(sample.logprobs.back().token, one.logprobs.back().token);
  }
}

TEST_F(ExecutorOutputs, BestOfGivesTheLikeliest) {
  Session session(engine(), *backend_, session_options(2000));
  ExecutorRequest r = request();
  r.params.n = 6;
  r.params.logprobs = 0;
  const ExecutorResult all = alone(session, r);
  std::vector<std::pair<double, std::vector<int32_t>>> ranked;
  for (size_t k = 0; k < 6; ++k) {
    const ExecutorOutput& o = k == 0 ? all : all.others[k - 1];
    double sum = 0;
    for (const TokenLogprobs& l : o.logprobs) sum += l.token;
    ranked.emplace_back(-sum / static_cast<double>(o.tokens.size()), o.tokens);
  }
  std::ranges::sort(ranked);
  r.params.n = 2;
  r.params.best_of = 6;
  r.params.logprobs = -1;
  const ExecutorResult best = alone(session, r);
  ASSERT_EQ(best.others.size(), 1u);
  EXPECT_EQ(best.tokens, ranked[0].second);
  EXPECT_EQ(best.others[0].tokens, ranked[1].second);
  EXPECT_NEAR(best.score, -ranked[0].first, 1e-6);
  EXPECT_TRUE(best.logprobs.empty());
}

// The device draws for all samples but the first tokens.
TEST_F(ExecutorOutputs, TheDeviceGoesOnWithSamples) {
  testing::SamplingBackend device(*backend_);
  Session session(engine(), device, session_options(2000));
  Session reference(engine(), *backend_, session_options(2000));
  ExecutorRequest r = request();
  r.params.temperature = 0;
  r.params.n = 3;
  Executor executor(session);
  ExecutorRequest beams = request();
  beams.params.beam_width = 3;
  const uint64_t samples = executor.enqueue(r), searched = executor.enqueue(beams);
  EXPECT_EQ(tokens_of(executor.await(samples)), tokens_of(alone(reference, r)));
  EXPECT_EQ(tokens_of(executor.await(searched)), tokens_of(alone(reference, beams)));
  EXPECT_GT(device.choices(), 5);
}

// The bar of parallel sampling and beam search: they share 55 % of what copies would take.
TEST_F(ExecutorOutputs, ShareTheBlocksOfTheirPrompt) {
  for (const bool beams : {false, true}) {
    Session session(engine(), *backend_, session_options(4000));
    ExecutorOptions o;
    o.enable_block_reuse = false;
    o.max_batch_size = 16;
    Executor executor(session, o);
    ExecutorRequest r;
    std::mt19937 random(1);
    for (int i = 0; i < 160; ++i) r.tokens.push_back(static_cast<int32_t>(random() % 320));
    r.params.max_tokens = 80;
    r.params.seed = 1;
    if (beams)
      r.params.beam_width = 4;
    else
      r.params.n = 8;
    executor.await(executor.enqueue(r));
    const ExecutorStats stats = executor.stats();
    RecordProperty(beams ? "beam_4_shared" : "n_8_shared", std::to_string(stats.kv_shared));
    std::printf("%s: %.1f %% of the blocks that copies would take are saved\n",
                beams ? "beam 4" : "n = 8", 100 * stats.kv_shared);
    EXPECT_GE(stats.kv_shared, 0.55);
    EXPECT_LT(stats.kv_shared, 1);
    EXPECT_EQ(stats.kv_blocks_used, 0);
  }
}

TEST_F(ExecutorOutputs, OneOutputIsCancelledAlone) {
  Session session(engine(), *backend_, session_options(8000));
  std::optional<Executor> executor(std::in_place, session, ExecutorOptions{.max_batch_size = 8});
  ExecutorRequest r = request(600);
  r.params.n = 3;
  std::vector<std::vector<int32_t>> tokens(3);
  std::vector<std::string> reasons(3);
  std::atomic<int> ended = 0;
  std::atomic<uint64_t> id = 0;
  id = executor->enqueue(r, [&](const ExecutorEvent& e) {
    const auto k = static_cast<size_t>(e.output);
    if (e.token) tokens[k].push_back(*e.token);
    if (k == 1 && tokens[1].size() == 4 && !e.last()) {
      while (id == 0) std::this_thread::yield();
      executor->cancel(id, 1);
    }
    if (!e.last()) return;
    EXPECT_EQ(reasons[k], "") << "an output ends once";
    reasons[k] = e.finish_reason;
    ++ended;
  });
  while (ended < 3) std::this_thread::yield();
  EXPECT_EQ(reasons, (std::vector<std::string>{"length", "cancelled", "length"}));
  EXPECT_LT(tokens[1].size(), 600u);
  executor.reset();  // its thread may still be at work after the last event
  const ExecutorResult all = alone(session, r);
  EXPECT_EQ(tokens[0], all.tokens);
  EXPECT_EQ(tokens[2], all.others[1].tokens);
}

TEST_F(ExecutorOutputs, LogitsOnRequestAndAProcessorOfThem) {
  Session session(engine(), *backend_, session_options(2000));
  ExecutorRequest r = request(5);
  r.params.temperature = 0;
  r.return_context_logits = r.return_generation_logits = true;
  const ExecutorResult plain = alone(session, r);
  const auto vocab = static_cast<size_t>(session.vocab_size());
  ASSERT_TRUE(plain.context_logits);
  ASSERT_EQ(plain.context_logits->size(), r.tokens.size() * vocab);
  ASSERT_EQ(plain.logits.size(), 5u);
  EXPECT_TRUE(std::ranges::equal(std::span(*plain.context_logits).last(vocab), *plain.logits[0]));
  for (size_t i = 0; i < 5; ++i)
    EXPECT_EQ(std::ranges::max_element(*plain.logits[i]) - plain.logits[i]->begin(),
              plain.tokens[i]);
  // Token 9 in the third place, and what follows from it.
  r.return_context_logits = r.return_generation_logits = false;
  r.params.n = 2;
  r.logits_processor = [](std::span<float> logits, std::span<const int32_t> output) {
    if (output.size() == 2) logits[9] = 1000;
  };
  const ExecutorResult changed = alone(session, r);
  EXPECT_EQ(changed.tokens[1], plain.tokens[1]);
  EXPECT_EQ(changed.tokens[2], 9);
  EXPECT_EQ(changed.others[0].tokens, changed.tokens);
  // A processor that fails fails its request alone.
  ExecutorRequest bad = r;
  bad.logits_processor = [](std::span<float>, std::span<const int32_t>) { fail("no idea"); };
  Executor executor(session, {.max_batch_size = 8});
  const uint64_t good_id = executor.enqueue(r), bad_id = executor.enqueue(bad);
  EXPECT_THAT(executor.await(bad_id).error, HasSubstr("no idea"));
  EXPECT_EQ(executor.await(good_id).tokens, changed.tokens);
}

TEST_F(ExecutorOutputs, RefusesWhatCannotRunTogether) {
  Session session(engine(), *backend_, session_options(400));
  Executor executor(session, {.max_batch_size = 4, .max_beam_width = 3});
  const auto refused = [&](const std::function<void(ExecutorRequest&)>& change, const char* why) {
    ExecutorRequest r = request();
    change(r);
    try {
      executor.enqueue(r);
      ADD_FAILURE() << "accepted, expected: " << why;
    } catch (const Error& e) {
      EXPECT_THAT(e.what(), HasSubstr(why));
    }
  };
  refused([](auto& r) { r.params.n = 5; },
          "a request of 5 sequences does not fit into a step of 4");
  refused([](auto& r) { r.params.n = 0; }, "n is 0");
  refused([](auto& r) { r.params.n = 3, r.params.best_of = 2; }, "best_of is 2");
  refused([](auto& r) { r.params.beam_width = 4; }, "at most 3 here (max_beam_width)");
  refused([](auto& r) { r.params.beam_width = 2, r.params.n = 3; }, "must not exceed beam_width");
  refused([](auto& r) { r.params.beam_width = 2, r.params.best_of = 3; }, "or beam_width, 2");
  refused([](auto& r) { r.params.n = 4, r.params.max_tokens = 200; }, "in 4 sequences needs");
  EXPECT_EQ(executor.max_width(), 4);
}

// A step fails once: its requests end with the error, those that wait are served.
TEST_F(ExecutorOutputs, AFailedStepFailsItsRequestsAlone) {
  Session session(engine(), *backend_, session_options(160));
  Session reference(engine(), *backend_, session_options(160));
  std::atomic<int> launches = 0;
  session.set_launch_hook([&] {
    if (++launches == 6) fail("injected");
  });
  Executor executor(session, {.max_batch_size = 3,
                              .batch_scheduler_policy = "max_utilization",
                              .kv_cache_host_memory_bytes = 1 << 20});
  std::vector<uint64_t> ids;
  for (int i = 0; i < 9; ++i) {
    ExecutorRequest r = request(20);
    r.params.n = i % 3 == 0 ? 3 : 1;
    r.params.seed = i;
    ids.push_back(executor.enqueue(r));
  }
  int failed = 0;
  for (int i = 0; i < 9; ++i) {
    const ExecutorResult result = executor.await(ids[static_cast<size_t>(i)]);
    if (result.finish_reason == "error") {
      ++failed;
      EXPECT_EQ(result.error, "injected");
      continue;
    }
    ExecutorRequest r = request(20);
    r.params.n = i % 3 == 0 ? 3 : 1;
    r.params.seed = i;
    EXPECT_EQ(tokens_of(result), tokens_of(alone(reference, r))) << "request " << i;
  }
  EXPECT_GE(failed, 1);
  EXPECT_LE(failed, 3);
  const ExecutorStats stats = executor.stats();
  EXPECT_EQ(stats.failed, failed);
  EXPECT_EQ(stats.kv_blocks_used, 0);
  EXPECT_GT(stats.busy_s, 0);
  EXPECT_LE(stats.step_s, stats.busy_s);
}

}  // namespace
}  // namespace tokamak
