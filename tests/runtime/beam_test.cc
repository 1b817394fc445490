// Beam search against Hugging Face's generate(num_beams) on the same model of random weights.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/json.h"
#include "runtime/executor_fixture.h"
#include "tokamak/llm.h"

namespace tokamak {
namespace {

TEST(Beams, AreThoseOfHuggingFace) {
  const std::filesystem::path data = TOKAMAK_TEST_DATA "/runtime/beam";
  testing::TempDir cache;
  LLMOptions options;
  options.workers = 1;
  options.tuning = false;
  options.cache_dir = cache.path();
  options.activation_bits = "16";
  LLM llm(data, options);
  const Json cases = load_json(data / "cases.json").at("cases");
  std::vector<ExecutorRequest> requests;
  for (const Json& c : cases) {
    ExecutorRequest& r = requests.emplace_back();
    r.tokens = c.at("prompt").get<std::vector<int32_t>>();
    SamplingParams& p = r.params;
    p.beam_width = p.n = c.at("num_beams");
    p.length_penalty = c.at("length_penalty");
    p.early_stopping = c.at("early_stopping");
    p.max_tokens = c.at("max_new_tokens");
    p.stop_token_ids = c.at("eos").get<std::vector<int32_t>>();
    p.repetition_penalty = c.value("repetition_penalty", 1.0);
    p.no_repeat_ngram_size = c.value("no_repeat_ngram_size", 0);
  }
  llm.session().reserve(6000, 64);
  // All widths in one batch.
  Executor executor(llm.session(), {.max_batch_size = 64});
  std::vector<uint64_t> ids;
  for (const ExecutorRequest& r : requests) ids.push_back(executor.enqueue(r));
  for (size_t i = 0; i < ids.size(); ++i) {
    SCOPED_TRACE("case " + std::to_string(i));
    const ExecutorResult result = executor.await(ids[i]);
    ASSERT_EQ(result.error, "");
    const Json& outputs = cases[i].at("outputs");
    ASSERT_EQ(result.others.size() + 1, outputs.size());
    for (size_t k = 0; k < outputs.size(); ++k) {
      const ExecutorOutput& mine = k == 0 ? result : result.others[k - 1];
      const double score = outputs[k].at("score");
      EXPECT_EQ(mine.tokens, outputs[k].at("tokens").get<std::vector<int32_t>>()) << "beam " << k;
      EXPECT_NEAR(mine.score, score, 1e-3 * std::max(1.0, std::abs(score))) << "beam " << k;
    }
  }
}

}  // namespace
}  // namespace tokamak
