// Every feature of a request with every other one, under every way to run requests: the tokens of
// the request alone, or a refusal that says why.
#include <gmock/gmock.h>

#include "api/lora_adapter.h"
#include "base/error_of.h"
#include "runtime/executor_fixture.h"
#include "runtime/sampling_backend.h"
#include "runtime/speculation/draft_model.h"
#include "runtime/speculation/ngram_drafter.h"
#include "runtime/tiny_adapter.h"

namespace tokamak {
namespace {

using ::testing::HasSubstr;

struct Feature {
  const char* name;
  void (*add)(ExecutorRequest&);
};

constexpr Feature kFeatures[] = {
    {"lora", [](ExecutorRequest& r) { r.lora = 0; }},
    {"guide", [](ExecutorRequest& r) { r.params.guide = testing::letters_guide(); }},
    {"beams", [](ExecutorRequest& r) { r.params.beam_width = 3; }},
    {"n", [](ExecutorRequest& r) { r.params.n = 2; }},
    {"best_of", [](ExecutorRequest& r) { r.params.best_of = 3; }},
    {"penalty", [](ExecutorRequest& r) { r.params.repetition_penalty = 1.2; }},
    {"logprobs", [](ExecutorRequest& r) { r.params.logprobs = 1; }},
    {"prompt_logprobs", [](ExecutorRequest& r) { r.prompt_logprobs = 1; }},
    {"logits", [](ExecutorRequest& r) { r.return_generation_logits = true; }},
    {"processor",
     [](ExecutorRequest& r) {
       r.logits_processor = [](std::span<float> logits, std::span<const int32_t> output) {
         logits[(output.size() * 37) % 320] += 5;
       };
     }},
    {"mean embedding", [](ExecutorRequest& r) { r.pooling = Pooling::mean; }},
    {"last embedding", [](ExecutorRequest& r) { r.pooling = Pooling::last; }},
};

// Why two features cannot meet; "" where they can.
std::string refusal(const ExecutorRequest& r) {
  if (r.pooling) {
    if (r.params.width() > 1) return "not together with several outputs";
    if (r.params.guide) return "not together with a guide";
    if (r.params.logprobs >= 0) return "not together with logprobs";
    if (r.prompt_logprobs >= 0) return "not together with prompt_logprobs";
    if (r.return_generation_logits) return "not together with logits";
    if (r.logits_processor) return "not together with a logits processor";
  }
  if (r.params.guide && r.params.beam_width > 1) return "beam search knows no guide";
  return "";
}

struct Case {
  std::string name;
  ExecutorRequest request;
  ExecutorResult expected;  // alone
};

class ExecutorPairs : public testing::TinyExecutorTest {
 protected:
  static SessionOptions with_adapters(int64_t kv_tokens) {
    SessionOptions o = session_options(kv_tokens);
    o.lora = {.max_rank = 8, .max_loras = 2};
    return o;
  }
  static void load_adapter(Session& session) {
    const auto path = testing::write_tiny_adapter(folder_->path() / "adapter", 5);
    const auto config = ModelConfig::from_json(session.config().pretrained, "config.json");
    EXPECT_EQ(session.adapters().load(read_lora_adapter(path, config).matrices, "adapter"), 0);
  }
  static ExecutorRequest request(std::mt19937& random, bool greedy) {
    ExecutorRequest r;
    r.tokens = testing::random_prompt(random, 50);
    r.params.temperature = greedy || random() % 2 ? 0 : 0.8;
    r.params.seed = random();
    r.params.max_tokens = 4 + static_cast<int64_t>(random() % 20);
    return r;
  }
  // All pairs that can work, and each feature alone, as they are where nothing else runs.
  static std::vector<Case> cases(Session& session, bool greedy) {
    std::mt19937 random(91);
    std::vector<Case> all;
    for (const Feature& a : kFeatures)
      for (const Feature& b : kFeatures) {
        if (&b < &a) continue;
        Case c{std::string(a.name) + " + " + b.name, request(random, greedy), {}};
        a.add(c.request);
        b.add(c.request);
        if (!refusal(c.request).empty()) continue;
        c.expected = alone(session, c.request);
        EXPECT_EQ(c.expected.error, "") << c.name;
        all.push_back(std::move(c));
      }
    return all;
  }
  static void expect_equal(const ExecutorResult& got, const ExecutorResult& expected) {
    EXPECT_EQ(got.error, "");
    EXPECT_EQ(tokens_of(got), tokens_of(expected));
    EXPECT_EQ(got.finish_reason, expected.finish_reason);
    EXPECT_EQ(got.embedding, expected.embedding);
    expect_equal(got.logprobs, expected.logprobs);
    expect_equal(got.prompt_logprobs, expected.prompt_logprobs);
    ASSERT_EQ(got.logits.size(), expected.logits.size());
    for (size_t k = 0; k < got.logits.size(); ++k) EXPECT_EQ(*got.logits[k], *expected.logits[k]);
  }
  static void expect_equal(const std::vector<TokenLogprobs>& got,
                           const std::vector<TokenLogprobs>& expected) {
    ASSERT_EQ(got.size(), expected.size());
    for (size_t k = 0; k < got.size(); ++k) EXPECT_EQ(got[k].token, expected[k].token);
  }
  static ExecutorStats check(Session& session, const ExecutorOptions& options,
                             const std::vector<Case>& cases) {
    Executor executor(session, options);
    std::vector<uint64_t> ids;
    for (const Case& c : cases) ids.push_back(executor.enqueue(c.request));
    for (size_t i = 0; i < cases.size(); ++i) {
      SCOPED_TRACE(cases[i].name);
      expect_equal(executor.await(ids[i]), cases[i].expected);
    }
    EXPECT_EQ(executor.stats().kv_blocks_used, 0);
    return executor.stats();
  }
};

// (keys and values in float32 and int8) × (no guesses, prompt lookup, a draft model) × (plenty of
// room, little of it with prompts in chunks, requests that give way and blocks in host memory).
TEST_F(ExecutorPairs, GiveTheTokensOfTheRequestAlone) {
  int64_t requests = 0, accepted = 0, preemptions = 0;
  for (const char* kv_dtype : {"float32", "int8"}) {
    Session reference(engine(kv_dtype), *backend_, with_adapters(4000));
    load_adapter(reference);
    const std::vector<Case> all = cases(reference, false);
    for (const char* drafter : {"none", "ngram", "draft_model"})
      for (const bool crowded : {false, true}) {
        SCOPED_TRACE(fmt::format("KV {}, drafter {}, crowded {}", kv_dtype, drafter, crowded));
        Session session(engine(kv_dtype), *backend_, with_adapters(crowded ? 240 : 4000));
        load_adapter(session);
        Session draft_session(engine(), *backend_, session_options(4000));
        SpeculationOptions speculation;
        speculation.prompt_lookup_min = 1;
        NgramDrafter ngram(speculation);
        DraftModel model(draft_session, speculation);
        ExecutorOptions o;
        o.max_batch_size = 14;
        if (drafter != std::string("none"))
          o.drafter = drafter == std::string("ngram") ? static_cast<Drafter*>(&ngram) : &model;
        if (crowded) {
          o.max_num_tokens = 20;
          o.context_chunking_policy = "equal_progress";
          o.batch_scheduler_policy = "max_utilization";
          o.kv_cache_host_memory_bytes = 200 << 10;
        }
        const ExecutorStats stats = check(session, o, all);
        requests += static_cast<int64_t>(all.size());
        accepted += stats.accepted_draft_tokens;
        preemptions += stats.preemptions;
        EXPECT_EQ(stats.accepted_draft_tokens > 0, o.drafter != nullptr);
      }
  }
  std::printf("%lld requests, %lld guesses were right, %lld gave way\n",
              static_cast<long long>(requests), static_cast<long long>(accepted),
              static_cast<long long>(preemptions));
  EXPECT_GT(preemptions, 10);
}

// Where the device chooses what it can, beside what it cannot and alone, ahead of the host.
TEST_F(ExecutorPairs, OnADeviceThatChooses) {
  testing::SamplingBackend device(*backend_);
  Session reference(engine(), *backend_, with_adapters(4000));
  Session session(engine(), device, with_adapters(4000));
  load_adapter(reference);
  load_adapter(session);
  const std::vector<Case> all = cases(reference, true);
  check(session, {.max_batch_size = 14}, all);
  const int fed = device.fed();
  for (const Case& c : all) check(session, {.max_batch_size = 14}, {c});
  EXPECT_GT(device.fed(), fed);
}

TEST_F(ExecutorPairs, OrAreRefusedWithTheReason) {
  Session session(engine(), *backend_, with_adapters(400));
  load_adapter(session);
  Executor executor(session, {.max_batch_size = 14});
  std::mt19937 random(92);
  int refused = 0;
  for (const Feature& a : kFeatures)
    for (const Feature& b : kFeatures) {
      ExecutorRequest r = request(random, true);
      a.add(r);
      b.add(r);
      if (refusal(r).empty()) continue;
      EXPECT_THAT(test::error_of([&] { executor.enqueue(r); }), HasSubstr(refusal(r)))
          << a.name << " + " << b.name;
      ++refused;
    }
  EXPECT_EQ(executor.stats().running + executor.stats().waiting, 0);
  EXPECT_GT(refused, 20);
}

}  // namespace
}  // namespace tokamak
