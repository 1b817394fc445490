// What a guide's masks cost: guide_bench TOKENIZER [schema.json …]
// Walks random texts under each guide and prints µs a token: the first text computes the masks, the
// others find most of them.
#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <random>

#include "base/error.h"
#include "base/json.h"
#include "guide/guide.h"
#include "guide/spec.h"
#include "text/token_bytes.h"

namespace tokamak {
namespace {

using Clock = std::chrono::steady_clock;

double us_since(Clock::time_point start) {
  return std::chrono::duration<double, std::micro>(Clock::now() - start).count();
}

// A token of the mask; short ones and quotes more often than in the vocabulary, so that texts end.
int32_t pick(const TokenMask& mask, std::span<const float> logits, std::mt19937& random) {
  const std::vector<int32_t> ids = mask.ids();
  int32_t best = ids[random() % ids.size()];
  for (int i = 0; i < 20; ++i) {
    const int32_t other = ids[random() % ids.size()];
    if (logits[static_cast<size_t>(other)] > logits[static_cast<size_t>(best)]) best = other;
  }
  return best;
}

void measure(const std::string& name, const GuideSpec& spec,
             const std::shared_ptr<const GuideVocabulary>& vocabulary) {
  const auto start = Clock::now();
  const auto guide = std::make_shared<const Guide>(guide::rules_of(spec), vocabulary);
  const double compiled = us_since(start);
  std::mt19937 random(1);
  std::vector<float> logits(vocabulary->size());
  for (size_t i = 0; i < logits.size(); ++i)
    logits[i] = -static_cast<float>(vocabulary->inside[i].size());
  std::vector<double> first, later, applied;
  for (int text = 0; text < 20; ++text) {
    GuideState state(guide);
    for (int token = 0; token < 200 && !state.complete(); ++token) {
      std::vector<float> scores = logits;
      const auto begin = Clock::now();
      const auto mask = state.mask();
      const double masked = us_since(begin);
      mask->apply(scores);
      const double all = us_since(begin);
      const int32_t id = pick(*mask, logits, random);
      const auto again = Clock::now();
      if (!state.accept(id)) fail("the mask allows what the state does not");
      (text == 0 ? first : later).push_back(masked + us_since(again));
      applied.push_back(all - masked);
    }
  }
  const auto mean = [](const std::vector<double>& v) {
    double sum = 0;
    for (const double x : v) sum += x;
    return v.empty() ? 0 : sum / static_cast<double>(v.size());
  };
  const double worst = *std::ranges::max_element(first);
  fmt::print(
      "{:24} compile {:8.0f} us; mask {:7.1f} us/token in the first text (worst {:.0f}), {:6.1f} "
      "in later "
      "ones; apply {:5.1f} us\n",
      name, compiled, mean(first), worst, mean(later), mean(applied));
}

int run(int argc, char** argv) {
  if (argc < 2) fail("usage: guide_bench TOKENIZER [SCHEMA.json …]");
  const Tokenizer tokenizer = Tokenizer::load(argv[1]);
  const auto start = Clock::now();
  TokenBytes bytes = token_bytes(tokenizer);
  const auto vocabulary =
      std::make_shared<const GuideVocabulary>(std::move(bytes.inside), std::move(bytes.first));
  fmt::print("{} tokens, tree in {:.0f} ms\n", vocabulary->size(), us_since(start) / 1e3);
  using Kind = GuideSpec::Kind;
  measure("json_object", {.kind = Kind::json_object}, vocabulary);
  measure(
      "schema, strings",
      {.kind = Kind::json_schema,
       .text = R"({"type":"object","properties":{"name":{"type":"string"},"age":{"type":"integer"},
                     "tags":{"type":"array","items":{"type":"string"}}},"required":["name","age","tags"]})"},
      vocabulary);
  measure(
      "schema, maxLength 200",
      {.kind = Kind::json_schema,
       .text =
           R"({"type":"object","properties":{"s":{"type":"string","maxLength":200}},"required":["s"]})"},
      vocabulary);
  measure("regex", {.kind = Kind::regex, .text = "[a-z ]{20,200}\\. (yes|no)"}, vocabulary);
  for (int i = 2; i < argc; ++i)
    measure(argv[i], {.kind = Kind::json_schema, .text = read_text(argv[i])}, vocabulary);
  return 0;
}

}  // namespace
}  // namespace tokamak

int main(int argc, char** argv) {
  try {
    return tokamak::run(argc, argv);
  } catch (const tokamak::Error& e) {
    fmt::print(stderr, "{}\n", e.what());
    return 2;
  }
}
