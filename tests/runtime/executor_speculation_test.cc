// Guesses in a batch: every request gets the tokens that it gets without them.
#include <gtest/gtest.h>

#include <random>

#include "runtime/sampler.h"
#include "runtime/session.h"
#include "runtime/speculation/draft_model.h"
#include "runtime/speculation/ngram_drafter.h"
#include "runtime/tiny_model.h"
#include "tokamak/executor.h"

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

class ExecutorSpeculation : public ::testing::TestWithParam<std::string> {
 protected:
  ExecutorSpeculation() : backend_(make_backend("cpu", 2)) {
    BuildOptions options;
    options.tuning = false;
    options.deterministic = true;
    engine_ = testing::build_tiny(folder_.path(), *backend_, options);
  }
  SessionOptions session_options(int64_t kv_tokens) const {
    SessionOptions o;
    o.kv_tokens = kv_tokens;
    o.kv_block_size = 8;
    o.deterministic = true;
    return o;
  }
  static std::vector<ExecutorRequest> requests(int count) {
    std::mt19937 random(20261121);
    std::vector<ExecutorRequest> all;
    for (int i = 0; i < count; ++i) {
      ExecutorRequest r;
      r.tokens = {i % 320, i / 320 + 1};
      const int length = static_cast<int>(random() % 40);
      for (int t = 0; t < length; ++t)
        r.tokens.push_back(static_cast<int32_t>(i % 2 ? t % 5 : random() % 320));
      r.params.temperature = i % 3 ? 0.7 : 0;
      r.params.top_k = i % 4 ? 4 : 0;
      r.params.repetition_penalty = i % 5 ? 1 : 1.1;
      r.params.seed = random();
      r.params.max_tokens = 1 + static_cast<int64_t>(random() % 30);
      if (i % 6 == 0) r.params.stop_token_ids = {static_cast<int32_t>(random() % 320)};
      if (i % 7 == 0) r.params.logprobs = 1;
      all.push_back(r);
    }
    return all;
  }
  std::vector<int32_t> alone(Session& session, const ExecutorRequest& r) const {
    Sampler sampler(r.params, session.vocab_size(), r.tokens);
    const int32_t id = session.add_sequence();
    std::vector<int32_t> next = r.tokens, out;
    while (static_cast<int64_t>(out.size()) < r.params.max_tokens) {
      const SequenceInput input{id, next};
      out.push_back(sampler.next(session.step({&input, 1}).row(0)));
      if (std::ranges::count(r.params.stop_token_ids, out.back()) > 0) break;
      next = {out.back()};
    }
    session.remove_sequence(id);
    return out;
  }
  std::unique_ptr<Backend> backend_;
  testing::TempDir folder_;
  std::filesystem::path engine_;
};

TEST_P(ExecutorSpeculation, GivesTheSameTokens) {
  Session session(engine_, *backend_, session_options(700));
  Session draft_session(engine_, *backend_, session_options(3000));
  const auto all = requests(80);
  std::map<std::vector<int32_t>, std::vector<int32_t>> outputs;
  for (const auto& r : all) outputs[r.tokens] = alone(session, r);
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
