// The sampler against Hugging Face's processors and warpers (tools/make_sampler_fixtures.py), and
// its own promises: distribution, determinism, bans, log-probabilities, errors.
#include "runtime/sampler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>

#include "base/error.h"
#include "base/error_of.h"
#include "base/json.h"
#include "base/philox.h"
#include "runtime/candidates.h"
#include "runtime/logit_kernels.h"

namespace tokamak {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr float kInf = std::numeric_limits<float>::infinity();

// The generator of the fixtures.
std::vector<float> made_scores(uint32_t seed, size_t vocab, double spread) {
  std::vector<float> out(vocab);
  for (float& f : out) {
    seed = seed * 1664525u + 1013904223u;
    f = static_cast<float>(((seed >> 8) / 16777216.0 - 0.5) * spread);
  }
  return out;
}

std::vector<int32_t> draws(const SamplingParams& p, std::span<const float> logits, int count) {
  Sampler sampler(p, static_cast<int64_t>(logits.size()), {});
  std::vector<int32_t> out;
  for (int i = 0; i < count; ++i) out.push_back(sampler.next(logits));
  return out;
}

Json fixtures(const char* part) {
  return load_json(TOKAMAK_TEST_DATA "/runtime/sampler.json").at(part);
}

TEST(Sampler, KeepsTheTokensThatHuggingFaceKeeps) {
  const Json cases = fixtures("warpers");
  for (const Json& c : cases) {
    SCOPED_TRACE(c.dump());
    auto scores =
        made_scores(c["seed"].get<uint32_t>(), c["vocab"].get<size_t>(), c["spread"].get<double>());
    divide(scores, c["temperature"].get<float>(), scores);
    const auto found = select_candidates(scores, row_max(scores).value, c["top_k"].get<int64_t>(),
                                         c["top_p"].get<double>(), c["min_p"].get<double>());
    ASSERT_TRUE(std::is_sorted(found.ids.begin(), found.ids.end()));
    int64_t sum = 0, squares = 0;
    for (int64_t id : found.ids) {
      sum += id;
      squares += id * id;
    }
    if (!c["kept"].is_null()) {
      EXPECT_EQ(found.ids, c["kept"].get<std::vector<int32_t>>());
    }
    // Far in the tail of a flat distribution float32 sums of the reference may cut one token apart.
    const auto& summary = c["summary"];
    const auto count = static_cast<int64_t>(found.ids.size());
    if (summary[0].get<int64_t>() <= 2000) {
      EXPECT_EQ(count, summary[0].get<int64_t>());
      EXPECT_EQ(sum, summary[1].get<int64_t>());
      EXPECT_EQ(squares % 1000003, summary[2].get<int64_t>());
    } else {
      EXPECT_NEAR(static_cast<double>(count), summary[0].get<double>(),
                  2e-3 * summary[0].get<double>());
    }
  }
}

TEST(Sampler, ChangesLogitsAsHuggingFaceDoes) {
  const Json cases = fixtures("processors");
  for (const Json& c : cases) {
    SCOPED_TRACE(c.dump());
    SamplingParams p;
    p.repetition_penalty = c["repetition"].get<double>();
    p.no_repeat_ngram_size = c["ngram"].get<int64_t>();
    p.bad_words = c["bad_words"].get<std::vector<std::vector<int32_t>>>();
    for (const Json& b : c["bias"]) p.logit_bias[b[0].get<int32_t>()] = b[1].get<double>();
    auto scores = made_scores(c["seed"].get<uint32_t>(), c["vocab"].get<size_t>(), 10);
    const auto tokens = c["tokens"].get<std::vector<int32_t>>();
    // The first half as prompt, the rest as output: the border must not matter.
    LogitProcessors processors(p, static_cast<int64_t>(scores.size()), std::span(tokens).first(4));
    for (size_t i = 4; i < tokens.size(); ++i) processors.append(tokens[i]);
    processors.process(scores);
    for (size_t i = 0; i < scores.size(); ++i) {
      if (c["scores"][i].is_null())
        EXPECT_EQ(scores[i], -kInf) << i;
      else
        EXPECT_NEAR(scores[i], c["scores"][i].get<float>(), 1e-6) << i;
    }
  }
}

TEST(Sampler, PresenceAndFrequencyCountTheOutputOnly) {
  SamplingParams p;
  p.temperature = 0;
  p.presence_penalty = 0.5;
  p.frequency_penalty = 0.25;
  std::vector<int32_t> prompt = {0, 0, 1};
  LogitProcessors processors(p, 4, prompt);
  for (int32_t t : {1, 2, 2}) processors.append(t);
  std::vector<float> logits = {1, 1, 1, 1};
  processors.process(logits);
  EXPECT_THAT(logits, ElementsAre(1, 0.25f, 0, 1));
}

TEST(Sampler, GreedyTakesTheLowestIdOfATie) {
  SamplingParams p;
  p.temperature = 0;
  std::vector<float> logits(1000, 1.0f);
  logits[500] = logits[700] = 3.0f;
  EXPECT_THAT(draws(p, logits, 2), ElementsAre(500, 500));
}

// Pearson's statistic of `count` draws against softmax(logits / temperature) over the kept tokens.
double chi_square(SamplingParams p, const std::vector<float>& logits,
                  const std::vector<double>& probability, int count) {
  std::vector<int> seen(logits.size());
  for (int32_t t : draws(p, logits, count)) ++seen[static_cast<size_t>(t)];
  double statistic = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    const double expected = probability[i] * count;
    if (probability[i] == 0)
      EXPECT_EQ(seen[i], 0) << "token " << i << " is not a candidate";
    else
      statistic += (seen[i] - expected) * (seen[i] - expected) / expected;
  }
  return statistic;
}

std::vector<double> softmax(std::vector<double> x) {
  const double max = *std::max_element(x.begin(), x.end());
  double sum = 0;
  for (double& v : x) sum += v = std::exp(v - max);
  for (double& v : x) v /= sum;
  return x;
}

TEST(Sampler, DrawsFromTheDistribution) {
  const std::vector<float> logits = {0.5f, 2.0f, -1.0f, 1.0f, 0.0f, 1.5f, -0.5f, 0.7f};
  // 99.9 % quantile of chi-square with 7, 2 degrees of freedom.
  constexpr double k7 = 24.32, k2 = 13.82;
  for (uint64_t seed : {1u, 2u, 3u}) {
    SCOPED_TRACE(seed);
    SamplingParams p;
    p.seed = seed;
    std::vector<double> x(logits.begin(), logits.end());
    EXPECT_LT(chi_square(p, logits, softmax(x), 40000), k7);
    p.temperature = 0.5;
    for (double& v : x) v *= 2;
    EXPECT_LT(chi_square(p, logits, softmax(x), 40000), k7);
    p.top_k = 3;  // tokens 1, 5, 3
    for (size_t i : {0, 2, 4, 6, 7}) x[i] = -INFINITY;
    EXPECT_LT(chi_square(p, logits, softmax(x), 40000), k2);
  }
}

TEST(Sampler, DrawsOfManySeedsAreIndependent) {
  // One draw of each of many requests: what a batch of seeds 0, 1, 2 … sees.
  const std::vector<float> logits(16, 0.0f);
  std::vector<int> seen(16);
  for (uint64_t seed = 0; seed < 16000; ++seed) {
    SamplingParams p;
    p.seed = seed;
    ++seen[static_cast<size_t>(draws(p, logits, 1)[0])];
  }
  double statistic = 0;
  for (int n : seen) statistic += (n - 1000.0) * (n - 1000.0) / 1000;
  EXPECT_LT(statistic, 37.7);  // 99.9 %, 15 degrees of freedom
}

TEST(Sampler, SameSeedSameTokensWhateverIsInterleaved) {
  const auto logits = made_scores(5, 4000, 8);
  SamplingParams p;
  p.seed = 42;
  p.top_p = 0.9;
  const auto alone = draws(p, logits, 20);
  Sampler a(p, 4000, {}), b(p, 4000, {});
  SamplingParams other = p;
  other.seed = 43;
  Sampler c(other, 4000, {});
  std::vector<int32_t> from_a, from_b, from_c;
  for (int i = 0; i < 20; ++i) {
    from_a.push_back(a.next(logits));
    from_c.push_back(c.next(logits));
    from_b.push_back(b.next(logits));
  }
  EXPECT_EQ(from_a, alone);
  EXPECT_EQ(from_b, alone);
  EXPECT_NE(from_c, alone);
}

TEST(Sampler, PhiloxMatchesThePublishedVectors) {
  // Known answers of the Random123 distribution.
  EXPECT_EQ(philox({0, 0, 0, 0}, {0, 0}),
            (std::array<uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (std::array<uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
}

TEST(Sampler, BiasMinTokensAndBansHold) {
  SamplingParams p;
  p.temperature = 0;
  p.stop_token_ids = {3};
  p.min_tokens = 2;
  p.logit_bias[1] = 1;
  p.bad_words = {{2, 0}};
  const std::vector<float> logits = {1.0f, 0.5f, 1.2f, 9.0f};
  Sampler sampler(p, 4, {});
  EXPECT_EQ(sampler.next(logits), 1);  // 3 must wait, 1 is lifted above 2
  EXPECT_EQ(sampler.next(logits), 1);
  EXPECT_EQ(sampler.next(logits), 3);
}

TEST(Sampler, LogprobsAreOfTheModelsDistribution) {
  const auto logits = made_scores(9, 5000, 12);
  SamplingParams p;
  p.temperature = 0.3;
  p.logprobs = 5;
  p.seed = 1;
  Sampler sampler(p, 5000, {});
  const int32_t token = sampler.next(logits);
  const auto expected = softmax({logits.begin(), logits.end()});
  std::vector<int32_t> order(5000);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int32_t a, int32_t b) { return logits[a] > logits[b]; });
  ASSERT_TRUE(sampler.logprobs());
  EXPECT_NEAR(sampler.logprobs()->token, std::log(expected[token]), 1e-5);
  ASSERT_EQ(sampler.logprobs()->top.size(), 5u);
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(sampler.logprobs()->top[i].first, order[i]);
    EXPECT_NEAR(sampler.logprobs()->top[i].second, std::log(expected[order[i]]), 1e-5);
  }
}

TEST(Sampler, ExpIsAccurate) {
  std::vector<float> x(20001), y(20001);
  for (size_t i = 0; i < x.size(); ++i) x[i] = -static_cast<float>(i) * 0.00431f;
  const double sum = exp_row(x, 0, y);
  double expected = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    expected += std::exp(static_cast<double>(x[i]));
    EXPECT_NEAR(y[i] / std::exp(static_cast<double>(x[i])), 1, 3e-7) << x[i];
  }
  EXPECT_NEAR(sum / expected, 1, 1e-6);
  const std::vector<float> far = {-kInf, -200.0f, 0.0f};
  std::vector<float> weights(3);
  exp_row(far, 0, weights);
  EXPECT_THAT(weights, ElementsAre(0, 0, 1));
}

std::string error_of(const SamplingParams& p, std::vector<float> logits) {
  return test::error_of([&] { Sampler(p, static_cast<int64_t>(logits.size()), {}).next(logits); });
}

TEST(Sampler, NamesWhatIsWrong) {
  SamplingParams p;
  EXPECT_THAT(error_of(p, {1, std::nanf(""), 2}), HasSubstr("NaN logits"));
  std::vector<float> long_row(100, 1.0f);
  long_row[37] = std::nanf("");
  EXPECT_THAT(error_of(p, long_row), HasSubstr("NaN logits"));
  EXPECT_THAT(error_of(p, {1, kInf, 2}), HasSubstr("infinite"));
  p.bad_words = {{0}, {1}};
  EXPECT_THAT(error_of(p, {1, 2}), HasSubstr("no token is left"));
  p.bad_words = {{5}};
  EXPECT_THAT(error_of(p, {1, 2}), HasSubstr("bad_words names token 5"));
}

std::string invalid(void (*change)(SamplingParams&)) {
  SamplingParams p;
  change(p);
  try {
    p.validate();
  } catch (const Error& e) {
    return e.what();
  }
  return "valid";
}

TEST(SamplingParams, ValidateNamesFieldAndValue) {
  EXPECT_EQ(invalid([](SamplingParams&) {}), "valid");
  EXPECT_THAT(invalid([](SamplingParams& p) { p.temperature = -1; }),
              HasSubstr("temperature is -1"));
  EXPECT_THAT(invalid([](SamplingParams& p) { p.temperature = NAN; }),
              HasSubstr("temperature is nan"));
  EXPECT_THAT(invalid([](SamplingParams& p) { p.top_p = 1.5; }), HasSubstr("top_p is 1.5"));
  EXPECT_THAT(invalid([](SamplingParams& p) { p.top_k = -2; }), HasSubstr("top_k is -2"));
  EXPECT_THAT(invalid([](SamplingParams& p) { p.repetition_penalty = 0; }),
              HasSubstr("repetition_penalty is 0"));
  EXPECT_THAT(invalid([](SamplingParams& p) { p.min_tokens = 200; }),
              HasSubstr("min_tokens is 200"));
  EXPECT_THAT(invalid([](SamplingParams& p) { p.bad_words = {{}}; }), HasSubstr("bad_words"));
  EXPECT_THAT(invalid([](SamplingParams& p) { p.stop = {""}; }), HasSubstr("stop"));
  EXPECT_THAT(invalid([](SamplingParams& p) { p.logit_bias[-4] = 1; }), HasSubstr("token -4"));
  EXPECT_THAT(invalid([](SamplingParams& p) { p.max_tokens = 0; }), HasSubstr("max_tokens is 0"));
}

}  // namespace
}  // namespace tokamak
