// Tests of the executor over a tiny model of random weights.
#pragma once
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <memory>
#include <random>
#include <string>

#include "guide/guide.h"
#include "guide/spec.h"
#include "runtime/sampler.h"
#include "runtime/session.h"
#include "runtime/tiny_model.h"
#include "tokamak/executor.h"

namespace tokamak::testing {

// Tokens that begin as those of other prompts do.
inline std::vector<int32_t> random_prompt(std::mt19937& random, int most) {
  std::vector<int32_t> tokens;
  const int length = 1 + static_cast<int>(random() % static_cast<uint32_t>(most));
  const int common = static_cast<int>(random() % static_cast<uint32_t>(length + 1));
  for (int i = 0; i < length; ++i)
    tokens.push_back(static_cast<int32_t>(i < common ? i * 5 % 320 : random() % 320));
  return tokens;
}

// Token i is a letter; half of them may come, in pairs at the end.
inline std::shared_ptr<const Guide> letters_guide() {
  std::vector<std::string> letters;
  for (int i = 0; i < 320; ++i) letters.emplace_back(1, static_cast<char>('a' + i % 26));
  const auto vocabulary =
      std::make_shared<const GuideVocabulary>(std::move(letters), std::vector<std::string>());
  return std::make_shared<const Guide>(
      guide::rules_of({.kind = GuideSpec::Kind::regex, .text = "[a-m]{2,9}(no|yes)*z"}),
      vocabulary);
}

// Greedy and drawn, with and without penalties and stop tokens: the i-th of many.
inline SamplingParams random_params(std::mt19937& random, int i, int64_t most_tokens) {
  SamplingParams p;
  p.temperature = i % 3 ? 0.7 : 0;
  p.top_k = i % 4 ? 5 : 0;
  p.repetition_penalty = i % 5 ? 1 : 1.1;
  p.seed = random();
  p.max_tokens = 1 + static_cast<int64_t>(random() % static_cast<uint64_t>(most_tokens));
  if (i % 6 == 0) p.stop_token_ids = {static_cast<int32_t>(random() % 320)};
  return p;
}

class TinyExecutorTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    backend_ = make_backend("cpu", 2);
    folder_ = std::make_unique<TempDir>();
  }
  static void TearDownTestSuite() {
    folder_.reset();
    backend_.reset();
  }
  static const std::filesystem::path& engine(const std::string& kv_dtype = "float32") {
    std::filesystem::path& path = engines_[kv_dtype];
    if (!std::filesystem::exists(path)) {
      BuildOptions o;
      o.tuning = false;
      o.deterministic = true;
      o.kv_cache_dtype = kv_dtype;
      path = build_tiny(folder_->path(), *backend_, o, DType::f32, "engine-" + kv_dtype);
    }
    return path;
  }
  static SessionOptions session_options(int64_t kv_tokens, int32_t block_size = 8) {
    SessionOptions o;
    o.kv_tokens = kv_tokens;
    o.kv_block_size = block_size;
    o.deterministic = true;
    return o;
  }
  // The request alone: nothing shared, nothing in its way.
  static ExecutorResult alone(Session& session, const ExecutorRequest& r) {
    ExecutorOptions o;
    o.enable_block_reuse = false;
    o.max_batch_size = 16;
    Executor executor(session, o);
    return executor.await(executor.enqueue(r));
  }
  // The same of one output, token by token without an executor.
  static std::vector<int32_t> sampled(Session& session, const ExecutorRequest& r) {
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
  static std::vector<std::vector<int32_t>> tokens_of(const ExecutorResult& r) {
    std::vector<std::vector<int32_t>> all{r.tokens};
    for (const ExecutorOutput& o : r.others) all.push_back(o.tokens);
    return all;
  }

  static inline std::unique_ptr<TempDir> folder_;
  static inline std::unique_ptr<Backend> backend_;
  static inline std::map<std::string, std::filesystem::path> engines_;
};

}  // namespace tokamak::testing
