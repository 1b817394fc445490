// Guesses in a batch: every request gets the tokens that it gets without them.
#include <random>
#include <set>

#include "runtime/executor_fixture.h"
#include "runtime/speculation/draft_model.h"
#include "runtime/speculation/ngram_drafter.h"

namespace tokamak {
namespace {

// Right and wrong guesses by chance: some of what the model will say, and some other token.
class LuckyDrafter final : public Drafter {
 public:
  explicit LuckyDrafter(std::map<std::vector<int32_t>, std::vector<int32_t>> outputs)
      : outputs_(std::move(outputs)), random_(7) {}
  void propose(std::span<DraftRequest> requests) override {
    for (DraftRequest& r : requests) {
      open_.insert(r.id);
      EXPECT_GT(r.most, 0);
      const auto& all = outputs_.at({r.prompt.begin(), r.prompt.end()});
      const auto count = static_cast<size_t>(random_() % static_cast<uint64_t>(r.most + 1));
      for (size_t i = 0; i < std::min<size_t>(count, 6); ++i) {
        const size_t at = r.output.size() + i;
        r.guesses.push_back(at < all.size() && random_() % 4 ? all[at] : 3);
      }
    }
  }
  void drop(uint64_t id) override { open_.erase(id); }
  size_t open() const { return open_.size(); }

 private:
  std::map<std::vector<int32_t>, std::vector<int32_t>> outputs_;
  std::mt19937 random_;
  std::set<uint64_t> open_;
};

class ExecutorSpeculation : public testing::TinyExecutorTest,
                            public ::testing::WithParamInterface<std::string> {
 protected:
  static std::vector<ExecutorRequest> requests(int count) {
    std::mt19937 random(20261121);
    std::vector<ExecutorRequest> all;
    for (int i = 0; i < count; ++i) {
      ExecutorRequest r;
      r.tokens = {i % 320, i / 320 + 1};
      const int length = static_cast<int>(random() % 40);
      for (int t = 0; t < length; ++t)
        r.tokens.push_back(static_cast<int32_t>(i % 2 ? t % 5 : random() % 320));
      r.params = testing::random_params(random, i, 30);
      if (i % 7 == 0) r.params.logprobs = 1;
      all.push_back(r);
    }
    return all;
  }
};

TEST_P(ExecutorSpeculation, GivesTheSameTokens) {
  Session session(engine(), *backend_, session_options(700));
  Session draft_session(engine(), *backend_, session_options(3000));
  const auto all = requests(80);
  std::map<std::vector<int32_t>, std::vector<int32_t>> outputs;
  for (const auto& r : all) outputs[r.tokens] = sampled(session, r);
  SpeculationOptions speculation;
  speculation.prompt_lookup_min = 1;
  LuckyDrafter lucky(outputs);
  NgramDrafter ngram(speculation);
  DraftModel model(draft_session, speculation);
  ExecutorOptions options;
  options.drafter = GetParam() == "lucky"   ? static_cast<Drafter*>(&lucky)
                    : GetParam() == "ngram" ? static_cast<Drafter*>(&ngram)
                                            : &model;
  for (const char* policy : {"guaranteed_no_evict", "max_utilization"}) {
    options.batch_scheduler_policy = policy;
    options.max_batch_size = 7;
    options.max_num_tokens = 23;
    Executor executor(session, options);
    std::vector<uint64_t> ids;
    for (const auto& r : all) ids.push_back(executor.enqueue(r));
    for (size_t i = 0; i < ids.size(); ++i) {
      const ExecutorResult result = executor.await(ids[i]);
      EXPECT_EQ(result.tokens, outputs[all[i].tokens]) << policy << " " << i << result.error;
      EXPECT_EQ(result.logprobs.size(), all[i].params.logprobs < 0 ? 0 : result.tokens.size());
    }
    const ExecutorStats s = executor.stats();
    std::printf("%s, %s: %lld of %lld guesses were right, in %lld steps for %lld tokens\n",
                GetParam().c_str(), policy, static_cast<long long>(s.accepted_draft_tokens),
                static_cast<long long>(s.draft_tokens), static_cast<long long>(s.steps),
                static_cast<long long>(s.generated_tokens));
    EXPECT_GT(s.accepted_draft_tokens, 0);
    EXPECT_LE(s.accepted_draft_tokens, s.draft_tokens);
    EXPECT_EQ(s.kv_blocks_used, 0);
  }
  EXPECT_EQ(lucky.open(), 0u);
  EXPECT_EQ(draft_session.used_kv_blocks(), 0);
}

INSTANTIATE_TEST_SUITE_P(Drafters, ExecutorSpeculation,
                         ::testing::Values("lucky", "ngram", "draft_model"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace tokamak
