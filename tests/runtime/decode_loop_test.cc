// Decoding that the device drives gives the tokens of decoding step by step. The device here is the
// CPU with a sampler and recordings of its own, so that the loop is tested where no GPU is.
#include "runtime/decode_loop.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <random>

#include "runtime/generation.h"
#include "runtime/tiny_model.h"

namespace tokamak {
namespace {

int32_t likeliest(std::span<const float> logits) {
  return static_cast<int32_t>(std::ranges::max_element(logits) - logits.begin());
}

class GreedySampler final : public DeviceSampler {
 public:
  size_t workspace_bytes(int32_t, int64_t) const override { return 64; }
  void choose(const DecodeRows& r, bool plain, std::byte*) override {
    EXPECT_TRUE(plain);
    for (int32_t i = 0; i < r.rows; ++i) {
      const int32_t token = likeliest({r.logits + i * r.vocab, static_cast<size_t>(r.vocab)});
      r.history[i * r.history_stride + r.history_len[i]] = token;
      r.chosen[i * r.chosen_stride + r.history_len[i] - r.prompt_len[i]] = token;
      ++r.history_len[i];
      r.token_ids[i] = token;
      ++r.positions[i];
      ++r.context_len[i];
    }
  }
};

class Recorded final : public Recording {
 public:
  explicit Recorded(std::function<void()> work) : work(std::move(work)) {}
  const std::function<void()> work;
};

// Everything as the CPU does it, and what a device adds.
class SamplingBackend final : public Backend {
 public:
  explicit SamplingBackend(Backend& cpu) : cpu_(cpu) {}
  std::string_view name() const override { return cpu_.name(); }
  const DeviceProperties& properties() const override { return cpu_.properties(); }
  DeviceLimits measure_limits() override { return cpu_.measure_limits(); }
  DType activation_dtype(DType t) const override { return cpu_.activation_dtype(t); }
  std::span<const Tactic* const> tactics(Op op) const override { return cpu_.tactics(op); }
  const WeightLayout* layout(std::string_view n) const override { return cpu_.layout(n); }
  Buffer allocate(size_t bytes) override { return cpu_.allocate(bytes); }
  void release(std::byte* p, size_t bytes) override { cpu_.release(p, bytes); }
  void copy_in(std::byte* to, const std::byte* from, size_t n) override {
    cpu_.copy_in(to, from, n);
  }
  bool in_host_memory() const override { return true; }
  void copy_out(std::byte* to, const std::byte* from, size_t n) override {
    cpu_.copy_out(to, from, n);
  }
  void run(std::span<const BoundLaunch> launches, std::byte* workspace, const StepContext& step,
           std::span<double> times) override {
    cpu_.run(launches, workspace, step, times);
  }
  void parallel(const std::function<void(int, int)>& fn) override { cpu_.parallel(fn); }
  std::unique_ptr<Recording> record(const std::function<void()>& work) override {
    ++recorded;
    return std::make_unique<Recorded>(work);
  }
  void replay(const Recording& r) override {
    ++replayed;
    static_cast<const Recorded&>(r).work();
  }
  DeviceSampler* sampler() override { return &sampler_; }

  int recorded = 0, replayed = 0;

 private:
  Backend& cpu_;
  GreedySampler sampler_;
};

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
  };
  static std::vector<Request> requests(std::vector<std::array<int64_t, 3>> shapes, int seed) {
    std::mt19937 random(seed);
    std::vector<Request> out;
    for (const auto& [length, most, stop] : shapes) {
      out.push_back({{}, most, stop});
      for (int64_t i = 0; i < length; ++i)
        out.back().prompt.push_back(static_cast<int32_t>(random() % 320));
    }
    return out;
  }
  static std::vector<GenerationOutput> run(Session& session, DecodeLoop& loop,
                                           const std::vector<Request>& requests, bool device) {
    std::vector<GenerationInput> inputs;
    for (const Request& r : requests) {
      inputs.push_back({r.prompt, r.max_tokens, std::nullopt});
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
