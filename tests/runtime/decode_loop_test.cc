// Decoding that the device drives gives the tokens of decoding step by step. The device here is the
// CPU with a sampler and recordings of its own, so that the loop is tested where no GPU is.
#include "runtime/decode_loop.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <random>

#include "api/lora_adapter.h"
#include "runtime/generation.h"
#include "runtime/sampling_backend.h"
#include "runtime/tiny_adapter.h"
#include "runtime/tiny_model.h"

namespace tokamak {
namespace {

using testing::likeliest;
using testing::SamplingBackend;

class DecodeLoopTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new testing::TempDir;
    cpu_ = make_backend("cpu", 2).release();
    BuildOptions options;
    options.tuning = false;
    engine_ = new std::filesystem::path(testing::build_tiny(folder_->path(), *cpu_, options));
  }
  static void TearDownTestSuite() {
    delete engine_;
    delete cpu_;
    delete folder_;
  }
  struct Request {
    std::vector<int32_t> prompt;
    int64_t max_tokens;
    int64_t stop_after;  // 0: never
    int32_t adapter = -1;
  };
  static std::vector<Request> requests(std::vector<std::array<int64_t, 3>> shapes, int seed) {
    std::mt19937 random(seed);
    std::vector<Request> out;
    for (const auto& [length, most, stop] : shapes) {
      out.push_back({{}, most, stop, -1});
      for (int64_t i = 0; i < length; ++i)
        out.back().prompt.push_back(static_cast<int32_t>(random() % 320));
    }
    return out;
  }
  static std::vector<GenerationOutput> run(Session& session, DecodeLoop& loop,
                                           const std::vector<Request>& requests, bool device) {
    std::vector<GenerationInput> inputs;
    for (const Request& r : requests) {
      inputs.push_back({r.prompt, r.max_tokens, std::nullopt, r.adapter});
      if (device) inputs.back().sampling.emplace();
    }
    std::vector<int64_t> seen(requests.size());
    GenerationHooks hooks;
    hooks.choose = [](size_t, std::span<const float> logits) { return likeliest(logits); };
    hooks.accept = [&](size_t i, int32_t) { return ++seen[i] != requests[i].stop_after; };
    return generate(session, loop, inputs, hooks);
  }
  static testing::TempDir* folder_;
  static Backend* cpu_;
  static std::filesystem::path* engine_;
};
testing::TempDir* DecodeLoopTest::folder_ = nullptr;
Backend* DecodeLoopTest::cpu_ = nullptr;
std::filesystem::path* DecodeLoopTest::engine_ = nullptr;

TEST_F(DecodeLoopTest, GivesTheTokensOfSingleSteps) {
  SamplingBackend device(*cpu_);
  Session session(*engine_, device), reference(*engine_, *cpu_);
  DecodeLoop loop(session), unused(reference);
  // Alone, together, ends at different times, by stop and by length, over a bucket's border.
  const std::vector<std::vector<std::array<int64_t, 3>>> batches = {
      {{7, 1, 0}},
      {{1, 33, 0}},
      {{250, 40, 0}, {3, 60, 0}},
      {{5, 100, 2}, {9, 3, 0}, {31, 64, 0}, {2, 50, 50}},
  };
  int seed = 1;
  for (const auto& shapes : batches) {
    const auto wanted = requests(shapes, seed++);
    const auto expected = run(reference, unused, wanted, false);
    const auto got = run(session, loop, wanted, true);
    for (size_t i = 0; i < wanted.size(); ++i) {
      EXPECT_EQ(got[i].tokens, expected[i].tokens) << "batch " << seed << ", sequence " << i;
      EXPECT_EQ(got[i].stopped, expected[i].stopped);
    }
  }
  EXPECT_GT(device.replayed, 0);
  EXPECT_LT(device.recorded, device.replayed);
  EXPECT_EQ(session.used_kv_blocks(), 0) << "blocks were not given back";
}

TEST_F(DecodeLoopTest, SequencesHaveTheirAdapters) {
  SamplingBackend device(*cpu_);
  const SessionOptions options{.lora = {.max_rank = 4}};
  Session session(*engine_, device, options), reference(*engine_, *cpu_, options);
  const auto path = testing::write_tiny_adapter(folder_->path() / "adapter", 3);
  const auto config = ModelConfig::from_json(session.config().pretrained, "config.json");
  const LoraAdapter adapter = read_lora_adapter(path, config);
  for (Session* s : {&session, &reference}) s->adapters().load(adapter.matrices, "adapter");
  DecodeLoop loop(session), unused(reference);
  auto wanted = requests({{5, 30, 0}, {9, 40, 0}}, 21);
  const auto without = run(reference, unused, wanted, false);
  wanted[1].adapter = 0;
  const auto expected = run(reference, unused, wanted, false);
  EXPECT_NE(expected[1].tokens, without[1].tokens);
  const auto got = run(session, loop, wanted, true);
  for (size_t i = 0; i < 2; ++i) EXPECT_EQ(got[i].tokens, expected[i].tokens) << "sequence " << i;
  EXPECT_GT(device.replayed, 0);
}

TEST_F(DecodeLoopTest, RecordsAnewWhenTheSessionsMemoryMoves) {
  SamplingBackend device(*cpu_);
  Session session(*engine_, device);
  DecodeLoop loop(session);
  const auto wanted = requests({{5, 20, 0}}, 12);
  const auto tokens = run(session, loop, wanted, true)[0].tokens;
  const int recorded = device.recorded;
  EXPECT_EQ(run(session, loop, wanted, true)[0].tokens, tokens);
  EXPECT_EQ(device.recorded, recorded) << "nothing has moved";
  // More rows of logits than ever: the plan's memory is laid out anew.
  const int32_t id = session.add_sequence();
  const auto long_prompt = requests({{40, 0, 0}}, 13)[0].prompt;
  const SequenceInput all{id, long_prompt, WantLogits::all};
  session.step({&all, 1});
  session.remove_sequence(id);
  EXPECT_EQ(run(session, loop, wanted, true)[0].tokens, tokens);
  EXPECT_GT(device.recorded, recorded);
}

TEST_F(DecodeLoopTest, SequencesKeepWhatWasTaken) {
  SamplingBackend device(*cpu_);
  Session session(*engine_, device), reference(*engine_, *cpu_);
  const auto wanted = requests({{20, 0, 0}}, 9)[0].prompt;
  DecodeLoop loop(session);
  std::vector<std::vector<float>> rows;
  std::vector<int32_t> output;
  for (Session* s : {&reference, &session}) {
    const int32_t id = s->add_sequence();
    const SequenceInput prompt{id, wanted};
    if (s == &reference) {
      output.push_back(likeliest(s->step({&prompt, 1}).row(0)));
      for (int i = 0; i < 5; ++i) {
        const SequenceInput one{id, {&output.back(), 1}};
        const int32_t next = likeliest(s->step({&one, 1}).row(0));
        output.push_back(next);
      }
    } else {
      std::vector<int32_t> mine = {likeliest(s->step({&prompt, 1}).row(0))};
      const std::vector<int32_t> first = mine;
      const DecodeRow row{id, wanted, first, 30, {}};
      loop.run({&row, 1}, [&](size_t, int32_t token) {
        mine.push_back(token);
        return mine.size() < 6;
      });
      EXPECT_EQ(mine, output);
    }
    EXPECT_EQ(s->length(id), 25);
    const SequenceInput last{id, {&output.back(), 1}};
    const auto row = s->step({&last, 1}).row(0);
    rows.emplace_back(row.begin(), row.end());
  }
  EXPECT_EQ(rows[0], rows[1]);
}

TEST_F(DecodeLoopTest, AnErrorLeavesTheSessionUsable) {
  SamplingBackend device(*cpu_);
  Session session(*engine_, device);
  DecodeLoop loop(session);
  const auto wanted = requests({{4, 20, 0}}, 11);
  GenerationHooks hooks;
  hooks.choose = [](size_t, std::span<const float> logits) { return likeliest(logits); };
  hooks.accept = [&, n = 0](size_t, int32_t) mutable -> bool {
    if (++n == 3) fail("no more");
    return true;
  };
  const std::vector<GenerationInput> inputs = {{wanted[0].prompt, 20, RowSampling{}}};
  EXPECT_THROW(generate(session, loop, inputs, hooks), Error);
  EXPECT_EQ(session.used_kv_blocks(), 0);
  EXPECT_EQ(run(session, loop, wanted, true)[0].tokens.size(), 20u);
}

}  // namespace
}  // namespace tokamak
