// Requests with several adapters and none share steps, and each gets what it gets alone.
#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <thread>

#include "api/lora_adapter.h"
#include "base/error.h"
#include "runtime/sampler.h"
#include "runtime/sampling_backend.h"
#include "runtime/session.h"
#include "runtime/tiny_adapter.h"
#include "runtime/tiny_model.h"
#include "tokamak/executor.h"
#include "tokamak/llm.h"

namespace tokamak {
namespace {

class ExecutorLora : public ::testing::Test {
 protected:
  ExecutorLora() : backend_(make_backend("cpu", 2)) {
    BuildOptions options;
    options.tuning = false;
    options.deterministic = true;
    options.max_lora_rank = 8;  // recorded in the engine
    engine_ = testing::build_tiny(folder_.path(), *backend_, options);
    for (uint32_t seed : {1, 2, 3})
      adapters_.push_back(
          testing::write_tiny_adapter(folder_.path() / fmt::format("lora{}", seed), seed));
    LLMOptions o;
    o.workers = 2;
    o.deterministic = true;
    o.max_loras = 3;
    o.kv_cache_tokens = 2048;
    llm_.emplace(engine_, o);
  }
  std::vector<int32_t> alone(const ExecutorRequest& r) {
    Request request;
    request.tokens = r.tokens;
    request.params = r.params;
    request.lora = r.lora;
    return llm_->generate({&request, 1})[0].tokens;
  }
  static ExecutorRequest request(std::mt19937& random, std::span<const int32_t> loras) {
    ExecutorRequest r;
    const int length = 1 + static_cast<int>(random() % 150);
    for (int i = 0; i < length; ++i) r.tokens.push_back(i * 5 % 320);  // alike: prefixes are shared
    r.params.temperature = random() % 2 ? 0.8 : 0;
    r.params.seed = random();
    r.params.max_tokens = 1 + static_cast<int64_t>(random() % 12);
    r.lora = loras[random() % loras.size()];
    return r;
  }

  std::unique_ptr<Backend> backend_;
  testing::TempDir folder_;
  std::filesystem::path engine_;
  std::vector<std::filesystem::path> adapters_;
  std::optional<LLM> llm_;
};

TEST_F(ExecutorLora, MixedBatchesEqualRequestsAlone) {
  std::vector<int32_t> loras = {-1};
  for (const auto& a : adapters_) loras.push_back(llm_->load_lora(a));
  std::mt19937 random(20261121);
  std::vector<ExecutorRequest> requests;
  for (int i = 0; i < 60; ++i) requests.push_back(request(random, loras));
  std::vector<std::vector<int32_t>> expected;
  for (const auto& r : requests) expected.push_back(alone(r));
  int64_t reused = 0;
  {
    Executor executor(llm_->session(), {});
    std::vector<uint64_t> ids;
    for (const auto& r : requests) ids.push_back(executor.enqueue(r));
    for (size_t i = 0; i < ids.size(); ++i) {
      const ExecutorResult result = executor.await(ids[i]);
      EXPECT_EQ(result.tokens, expected[i]) << i << " " << result.error;
      reused += result.reused_tokens;
    }
  }
  EXPECT_GT(reused, 0);
}

// Where the device chooses, steps start before the last one's tokens are known.
TEST_F(ExecutorLora, StepsRunAheadWithAdapters) {
  std::vector<int32_t> loras = {-1};
  for (const auto& a : adapters_) loras.push_back(llm_->load_lora(a));
  testing::SamplingBackend device(*backend_);
  Session session(engine_, device,
                  {.kv_tokens = 2048, .deterministic = true, .lora = {.max_loras = 3}});
  for (const auto& a : adapters_) {
    const LoraAdapter adapter = read_lora_adapter(a, llm_->config());
    session.adapters().load(adapter.matrices, a.string());
  }
  std::mt19937 random(20261122);
  std::vector<ExecutorRequest> requests;
  for (int i = 0; i < 40; ++i) {
    requests.push_back(request(random, loras));
    requests.back().params.temperature = 0;
  }
  Executor executor(session, {.max_num_tokens = 48});
  std::vector<uint64_t> ids;
  for (const auto& r : requests) ids.push_back(executor.enqueue(r));
  for (size_t i = 0; i < ids.size(); ++i)
    EXPECT_EQ(executor.await(ids[i]).tokens, alone(requests[i])) << "request " << i;
  EXPECT_GT(device.fed(), 50);
}

// Taking adapters costs nothing while nobody uses one: the same launches on the same memory.
TEST_F(ExecutorLora, OtherStepsStayAsTheyWere) {
  Plan plan = EngineFile::open(engine_path(engine_, 0)).plan();
  const MemoryPlan before = plan_memory(plan, 64, 4);
  std::vector<std::string> steps, after;
  for (const PlanStep& s : plan.steps) steps.push_back(s.name);
  add_lora(plan, {.max_rank = 8});
  for (const PlanStep& s : plan.steps)
    if (s.runs != Runs::with_adapters) after.push_back(s.name);
  EXPECT_EQ(after, steps);
  const MemoryPlan with = plan_memory(plan, 64, 4);
  for (size_t i = 0; i < before.offsets.size(); ++i)
    EXPECT_EQ(with.offsets[i], before.offsets[i]) << plan.values[i].name;
  EXPECT_GT(with.offsets.size(), before.offsets.size());
}

// The cache of one adapter is of no use to another.
TEST_F(ExecutorLora, PrefixesAreAnAdaptersOwn) {
  const int32_t lora = llm_->load_lora(adapters_[0]);
  ExecutorRequest r;
  for (int i = 0; i < 200; ++i) r.tokens.push_back(i % 320);
  r.params.temperature = 0;
  r.params.max_tokens = 4;
  Executor executor(llm_->session(), {});
  const auto reused = [&](int32_t with) {
    r.lora = with;
    return executor.await(executor.enqueue(r)).reused_tokens;
  };
  EXPECT_EQ(reused(-1), 0);
  EXPECT_GT(reused(-1), 0);
  EXPECT_EQ(reused(lora), 0);
  EXPECT_GT(reused(lora), 0);
}

TEST_F(ExecutorLora, AdaptersComeAndGoWhileOthersRun) {
  Executor executor(llm_->session(), {});
  std::atomic<bool> over = false;
  std::jthread others([&] {
    ExecutorRequest r;
    r.tokens = {1, 2, 3};
    r.params.temperature = 0;
    r.params.max_tokens = 20;
    const auto first = executor.await(executor.enqueue(r)).tokens;
    while (!over) EXPECT_EQ(executor.await(executor.enqueue(r)).tokens, first);
  });
  ExecutorRequest r;
  r.tokens = {4, 5, 6};
  r.params.temperature = 0;
  r.params.max_tokens = 30;
  std::vector<int32_t> outputs;
  for (int round = 0; round < 12; ++round) {
    int32_t lora = -1;
    executor.between_steps([&] { lora = llm_->load_lora(adapters_[round % 3]); });
    r.lora = lora;
    const uint64_t id = executor.enqueue(r);
    executor.unload_lora(lora);  // what runs with it goes on
    EXPECT_THROW(executor.enqueue(r), Error);
    const ExecutorResult result = executor.await(id);
    EXPECT_EQ(result.tokens.size(), 30u) << result.error;
  }
  over = true;
  others.join();
  EXPECT_THROW(executor.unload_lora(77), Error);
  EXPECT_THROW(executor.between_steps([] { fail("no"); }), Error);
  executor.between_steps([] {});
  EXPECT_EQ(llm_->session().adapters().loaded(), 0);
}

}  // namespace
}  // namespace tokamak
