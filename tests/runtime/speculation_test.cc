// Speculative decoding changes how long outputs take, never what they are.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <map>
#include <random>

#include "base/error_of.h"
#include "runtime/executor_fixture.h"
#include "runtime/speculation/ngram_drafter.h"
#include "tokamak/llm.h"

namespace tokamak {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(LookUp, ContinuesTheLastPlaceOfTheLongestEnding) {
  const std::vector<int32_t> t = {1, 2, 3, 9, 5, 2, 3, 8, 7, 1, 2, 3};
  EXPECT_THAT(look_up(t, 4, 1, 3), ElementsAre(9, 5, 2));  // 1 2 3 before 2 3
  EXPECT_THAT(look_up(t, 2, 1, 3), ElementsAre(8, 7, 1));  // 2 3: the later place
  EXPECT_THAT(look_up(t, 4, 4, 3), IsEmpty());
  EXPECT_THAT(look_up(std::vector<int32_t>{4}, 4, 1, 3), IsEmpty());
  EXPECT_THAT(look_up(std::vector<int32_t>{1, 2}, 4, 1, 3), IsEmpty());
  // What follows reaches the end: it goes on as it began.
  EXPECT_THAT(look_up(std::vector<int32_t>{6, 7, 6, 7}, 2, 1, 5), ElementsAre(6, 7, 6, 7, 6));
  EXPECT_THAT(look_up(std::vector<int32_t>{7, 7, 7}, 2, 1, 3), ElementsAre(7, 7, 7));
}

// A tiny model of random weights with another number of layers or another vocabulary.
std::filesystem::path build_other(const std::filesystem::path& folder, Backend& backend,
                                  const std::string& field, int value) {
  BuildOptions options;
  options.tuning = false;
  options.deterministic = true;
  options.output_dir = folder / (field + std::to_string(value));
  options.quiet = true;
  options.max_num_tokens = 64;
  options.max_batch_size = 4;
  Json config = load_json(testing::write_tiny_config(folder));
  config[field] = value;
  const auto path = folder / (field + std::to_string(value) + ".json");
  std::ofstream(path) << config.dump();
  build_random(path, DType::f32, options, backend);
  return options.output_dir;
}

class Speculation : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new testing::TempDir;
    const auto backend = make_backend("cpu", 2);
    BuildOptions options;
    options.tuning = false;
    options.deterministic = true;
    engine_ = testing::build_tiny(folder_->path(), *backend, options);
    smaller_ = build_other(folder_->path(), *backend, "num_hidden_layers", 2);
    other_vocabulary_ = build_other(folder_->path(), *backend, "vocab_size", 300);
  }
  static void TearDownTestSuite() { delete folder_; }
  static LLMOptions options(const std::string& mode, const std::filesystem::path& draft = {}) {
    LLMOptions o;
    o.workers = 2;
    o.deterministic = true;
    o.speculative_mode = mode;
    o.draft_model = draft;
    o.prompt_lookup_min = 1;
    return o;
  }
  // Greedy and drawn, with and without penalties, prompts that repeat themselves and others.
  static std::vector<Request> requests(int count) {
    std::mt19937 random(20261121);
    std::vector<Request> all;
    for (int i = 0; i < count; ++i) {
      Request r;
      const int length = 1 + static_cast<int>(random() % 40);
      for (int t = 0; t < length; ++t)
        r.tokens.push_back(static_cast<int32_t>(i % 2 ? t % 7 : random() % 320));
      r.params = testing::random_params(random, i, 40);
      if (i % 4 == 1) r.params.logprobs = 2;
      all.push_back(r);
    }
    return all;
  }
  static testing::TempDir* folder_;
  static std::filesystem::path engine_, smaller_, other_vocabulary_;
};
testing::TempDir* Speculation::folder_ = nullptr;
std::filesystem::path Speculation::engine_, Speculation::smaller_, Speculation::other_vocabulary_;

void expect_equal(const std::vector<Completion>& plain, const std::vector<Completion>& guessed) {
  ASSERT_EQ(plain.size(), guessed.size());
  int64_t drafted = 0, accepted = 0;
  for (size_t i = 0; i < plain.size(); ++i) {
    EXPECT_EQ(plain[i].tokens, guessed[i].tokens) << i;
    EXPECT_EQ(plain[i].finish_reason, guessed[i].finish_reason) << i;
    ASSERT_EQ(plain[i].logprobs.size(), guessed[i].logprobs.size());
    for (size_t t = 0; t < plain[i].logprobs.size(); ++t)
      EXPECT_EQ(plain[i].logprobs[t].token, guessed[i].logprobs[t].token);
    drafted += guessed[i].draft_tokens;
    accepted += guessed[i].accepted_draft_tokens;
  }
  std::printf("%lld of %lld guesses were right\n", static_cast<long long>(accepted),
              static_cast<long long>(drafted));
  EXPECT_GT(accepted, 0);
  EXPECT_LE(accepted, drafted);
}

TEST_F(Speculation, NgramGivesTheSameTokens) {
  const auto all = requests(24);
  expect_equal(LLM(engine_, options("none")).generate(all),
               LLM(engine_, options("ngram")).generate(all));
}

TEST_F(Speculation, ADraftModelGivesTheSameTokens) {
  const auto all = requests(24);
  LLMOptions o = options("draft_model", smaller_);
  o.max_draft_len = 3;
  expect_equal(LLM(engine_, options("none")).generate(all), LLM(engine_, o).generate(all));
}

// Its own guesses are all right, but for those behind an end.
TEST_F(Speculation, AModelIsItsOwnBestDraft) {
  auto all = requests(8);
  for (Request& r : all) r.params.stop_token_ids.clear();
  LLM llm(engine_, options("draft_model", engine_));
  for (const Completion& c : llm.generate(all)) EXPECT_EQ(c.accepted_draft_tokens, c.draft_tokens);
}

// Tokens drawn with a draft model against the model's own probabilities: Pearson's chi square.
TEST_F(Speculation, DrawsHaveTheModelsDistribution) {
  const std::vector<int32_t> prompt = {5, 6, 7, 5, 6};
  constexpr int kDraws = 3000;
  Request r;
  r.tokens = prompt;
  r.params.temperature = 1;
  r.params.top_k = 3;
  r.params.max_tokens = 4;
  LLM llm(engine_, options("draft_model", smaller_));
  std::map<std::vector<int32_t>, int> seen;  // the first three tokens
  int64_t accepted = 0;
  for (int i = 0; i < kDraws; i += 50) {
    std::vector<Request> batch(50, r);
    for (int k = 0; k < 50; ++k) batch[k].params.seed = 1000003ull * (i + k) + 17;
    for (const Completion& c : llm.generate(batch)) {
      ++seen[{c.tokens.begin(), c.tokens.begin() + 3}];
      accepted += c.accepted_draft_tokens;
    }
  }
  EXPECT_GT(accepted, 0);
  // The three likeliest of each position and their probabilities.
  const auto next = [&](const std::vector<int32_t>& tokens) {
    std::vector<std::pair<double, int32_t>> top;
    llm.score(tokens, [&](int64_t position, std::span<const float> row) {
      if (position + 1 < static_cast<int64_t>(tokens.size())) return;
      for (size_t id = 0; id < row.size(); ++id)
        top.emplace_back(std::exp(double(row[id])), static_cast<int32_t>(id));
    });
    std::partial_sort(top.begin(), top.begin() + 3, top.end(), std::greater<>());
    top.resize(3);
    const double sum = top[0].first + top[1].first + top[2].first;
    for (auto& [p, id] : top) p /= sum;
    return top;
  };
  double chi = 0;
  int cells = 0, known = 0;
  for (const auto& [pa, a] : next(prompt)) {
    std::vector<int32_t> two = prompt;
    two.push_back(a);
    for (const auto& [pb, b] : next(two)) {
      std::vector<int32_t> three = two;
      three.push_back(b);
      for (const auto& [pc, c] : next(three)) {
        const double expected = pa * pb * pc * kDraws;
        const int found = seen.contains({a, b, c}) ? seen[{a, b, c}] : 0;
        chi += (found - expected) * (found - expected) / expected;
        known += found;
        ++cells;
      }
    }
  }
  EXPECT_EQ(known, kDraws);
  std::printf("chi square %.1f of %d cells\n", chi, cells);
  EXPECT_LT(chi, 54.1);  // 26 degrees of freedom: one in a thousand is larger
}

TEST_F(Speculation, RefusesWhatCannotWork) {
  const auto refusal = [](const LLMOptions& o) {
    return test::error_of([&] { LLM llm(engine_, o); });
  };
  EXPECT_THAT(refusal(options("draft_model", other_vocabulary_)), HasSubstr("vocabulary of 300"));
  EXPECT_THAT(refusal(options("draft_model")), HasSubstr("--draft_model"));
  EXPECT_THAT(refusal(options("ngram", smaller_)), HasSubstr("--draft_model"));
  EXPECT_THAT(refusal(options("medusa")), HasSubstr("medusa"));
  LLMOptions o = options("ngram");
  o.prompt_lookup_min = 5;
  EXPECT_THAT(refusal(o), HasSubstr("--prompt_lookup_min"));
  o = options("ngram");
  o.max_draft_len = 100;
  EXPECT_THAT(refusal(o), HasSubstr("--max_draft_len"));
}

}  // namespace
}  // namespace tokamak
