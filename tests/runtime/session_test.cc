#include "runtime/session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "runtime/generation.h"
#include "runtime/tiny_model.h"

namespace tokamak {
namespace {

using ::testing::HasSubstr;
using Rows = std::vector<std::vector<float>>;

BuildOptions untuned() {
  BuildOptions o;
  o.tuning = false;
  return o;
}

// One engine for all tests of this file.
class SessionTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    backend_ = make_backend("cpu", 2).release();
    folder_ = new testing::TempDir;
    engine_ = new std::filesystem::path(testing::build_tiny(folder_->path(), *backend_, untuned()));
  }
  static void TearDownTestSuite() {
    delete engine_;
    delete folder_;
    delete backend_;
  }
  static std::vector<int32_t> random_tokens(size_t n, uint32_t seed) {
    std::mt19937 random(seed);
    std::vector<int32_t> tokens(n);
    for (int32_t& t : tokens) t = static_cast<int32_t>(random() % 320);
    return tokens;
  }
  static Rows copy(const LogitRows& logits) {
    Rows rows;
    for (int64_t i = 0; i < logits.rows; ++i) {
      const auto row = logits.row(i);
      rows.emplace_back(row.begin(), row.end());
    }
    return rows;
  }
  static Rows all_logits(Session& session, const std::vector<int32_t>& tokens) {
    const int32_t s = session.add_sequence();
    const SequenceInput input{s, tokens, WantLogits::all};
    Rows rows = copy(session.step({&input, 1}));
    session.remove_sequence(s);
    return rows;
  }
  static void expect_close(const Rows& a, const Rows& b, float tolerance) {
    ASSERT_EQ(a.size(), b.size());
    for (size_t i = 0; i < a.size(); ++i)
      for (size_t k = 0; k < a[i].size(); ++k)
        ASSERT_NEAR(a[i][k], b[i][k], tolerance) << "row " << i << " token " << k;
  }

  static inline Backend* backend_ = nullptr;
  static inline testing::TempDir* folder_ = nullptr;
  static inline std::filesystem::path* engine_ = nullptr;
};

TEST_F(SessionTest, LogitsAreFiniteAndDiffer) {
  Session session(*engine_, *backend_);
  const Rows rows = all_logits(session, random_tokens(9, 1));
  ASSERT_EQ(rows.size(), 9u);
  for (const auto& row : rows)
    for (const float v : row) ASSERT_TRUE(std::isfinite(v));
  EXPECT_NE(rows[0], rows[1]);
}

TEST_F(SessionTest, ChunkedPrefillEqualsWhole) {
  const auto tokens = random_tokens(150, 2);
  Session whole(*engine_, *backend_, {.max_num_tokens = 256});
  const Rows expected = all_logits(whole, tokens);
  for (const int64_t chunk : {1, 7, 32, 64}) {
    Session session(*engine_, *backend_, {.max_num_tokens = chunk, .kv_block_size = 16});
    expect_close(all_logits(session, tokens), expected, 2e-3f);
  }
}

TEST_F(SessionTest, BatchEqualsSingle) {
  Session session(*engine_, *backend_, {.max_num_tokens = 50});
  std::vector<std::vector<int32_t>> prompts;
  for (uint32_t i = 0; i < 6; ++i) prompts.push_back(random_tokens(3 + 17 * i, 10 + i));
  Rows expected;
  for (const auto& p : prompts) expected.push_back(all_logits(session, p).back());
  std::vector<SequenceInput> inputs;
  for (const auto& p : prompts) inputs.push_back({session.add_sequence(), p});
  expect_close(copy(session.step(inputs)), expected, 2e-3f);
}

// Prompts, decoding sequences and sequences without wanted logits in one step.
TEST_F(SessionTest, MixedStepEqualsSeparate) {
  Session session(*engine_, *backend_);
  const auto a = random_tokens(40, 3), b = random_tokens(21, 4), c = random_tokens(70, 5);
  const Rows want_a = all_logits(session, a), want_b = all_logits(session, b),
             want_c = all_logits(session, c);
  const int32_t sa = session.add_sequence(), sb = session.add_sequence(),
                sc = session.add_sequence();
  const std::span<const int32_t> whole_a(a);
  const SequenceInput first{sa, whole_a.first(39), WantLogits::none};
  EXPECT_EQ(session.step({&first, 1}).rows, 0);
  const std::vector<SequenceInput> mixed = {
      {sb, b, WantLogits::all}, {sa, whole_a.subspan(39)}, {sc, c, WantLogits::last}};
  const Rows rows = copy(session.step(mixed));
  Rows expected = want_b;
  expected.push_back(want_a.back());
  expected.push_back(want_c.back());
  expect_close(rows, expected, 2e-3f);
}

TEST_F(SessionTest, ForkAndTruncate) {
  Session session(*engine_, *backend_, {.kv_block_size = 8});
  const auto tokens = random_tokens(30, 6), other = random_tokens(5, 7);
  const int32_t a = session.add_sequence();
  const SequenceInput prompt{a, tokens, WantLogits::none};
  session.step({&prompt, 1});
  const int32_t b = session.fork_sequence(a);
  const std::vector<int32_t> x = {5}, y = {6};
  const std::vector<SequenceInput> both = {{a, x}, {b, y}};
  const Rows rows = copy(session.step(both));
  auto with = tokens;
  with.push_back(5);
  expect_close({rows[0]}, {all_logits(session, with).back()}, 2e-3f);
  with.back() = 6;
  expect_close({rows[1]}, {all_logits(session, with).back()}, 2e-3f);

  session.truncate(a, 10);
  const SequenceInput again{a, other, WantLogits::last};
  const Rows cut = copy(session.step({&again, 1}));
  auto expected = std::vector<int32_t>(tokens.begin(), tokens.begin() + 10);
  expected.insert(expected.end(), other.begin(), other.end());
  expect_close(cut, {all_logits(session, expected).back()}, 2e-3f);
}

TEST_F(SessionTest, ErrorsLeaveSequencesAlone) {
  Session session(*engine_, *backend_, {.kv_tokens = 64, .kv_block_size = 16});
  const int32_t s = session.add_sequence();
  const auto few = random_tokens(40, 8), many = random_tokens(40, 9);
  const SequenceInput ok{s, few, WantLogits::last}, full{s, many, WantLogits::last};
  session.step({&ok, 1});
  try {
    session.step({&full, 1});
    FAIL() << "80 tokens fit in 64";
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), HasSubstr("KV cache is full"));
  }
  EXPECT_EQ(session.length(s), 40);
  const std::vector<int32_t> bad = {1, 320}, negative = {-1};
  for (const auto& tokens : {bad, negative}) {
    const SequenceInput input{s, tokens};
    EXPECT_THROW(session.step({&input, 1}), Error);
  }
  const SequenceInput unknown{99, few}, empty{s, {}};
  EXPECT_THROW(session.step({&unknown, 1}), Error);
  EXPECT_THROW(session.step({&empty, 1}), Error);
  const std::vector<SequenceInput> twice = {{s, bad}, {s, bad}};
  EXPECT_THROW(session.step(twice), Error);
  EXPECT_EQ(session.length(s), 40);
  session.remove_sequence(s);
  EXPECT_THROW(session.length(s), Error);
}

// An engine of one level opens on every other, with the same answer.
TEST_F(SessionTest, OpensOnOtherLevels) {
  const auto tokens = random_tokens(33, 11);
  for (const DType dtype : {DType::f32, DType::bf16, DType::q4_0}) {
    std::vector<std::string> levels;
    for (const std::string level : {"reference", "avx2", "avx512", "avx512_vnni"}) {
      try {
        make_backend("cpu", 2, level);
        levels.push_back(level);
      } catch (const Error&) {  // this machine lacks it
      }
    }
    Rows expected;
    for (const std::string& from : levels) {
      const auto builder = make_backend("cpu", 2, from);
      const std::string name = from + "-" + std::string(tokamak::name(dtype));
      const auto engine = testing::build_tiny(folder_->path(), *builder, untuned(), dtype, name);
      for (const std::string& to : levels) {
        const auto runner = make_backend("cpu", 2, to);
        Session session(engine, *runner);
        const Rows rows = all_logits(session, tokens);
        if (expected.empty()) expected = rows;
        SCOPED_TRACE(name + " on " + to);
        // Block formats may round activations to 8 bits at the higher levels.
        expect_close(rows, expected, dtype == DType::f32 ? 2e-3f : 0.25f);
      }
    }
  }
}

TEST_F(SessionTest, GenerationStopsAndCounts) {
  Session session(*engine_, *backend_);
  const auto a = random_tokens(5, 12), b = random_tokens(9, 13);
  const std::vector<GenerationInput> inputs = {{a, 10, {}}, {b, 10, {}}};
  DecodeLoop loop(session);
  GenerationHooks hooks;
  hooks.choose = [](size_t, std::span<const float> logits) {
    return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
  };
  int seen = 0;
  hooks.accept = [&](size_t i, int32_t) { return i == 1 || ++seen < 4; };
  const auto outputs = generate(session, loop, inputs, hooks);
  EXPECT_EQ(outputs[0].tokens.size(), 4u);
  EXPECT_TRUE(outputs[0].stopped);
  EXPECT_EQ(outputs[1].tokens.size(), 10u);
  EXPECT_FALSE(outputs[1].stopped);
  EXPECT_LE(outputs[1].first_token_s, outputs[1].total_s);
  EXPECT_EQ(session.add_sequence(), 1) << "sequences were not given back";
}

TEST_F(SessionTest, ProfileCoversTheStep) {
  Session session(*engine_, *backend_);
  Session::Profile profile;
  session.set_profile(&profile);
  all_logits(session, random_tokens(60, 14));
  ASSERT_EQ(profile.us.size(), session.plan().steps.size());
  double sum = 0;
  for (const double us : profile.us) sum += us;
  EXPECT_LE(sum, profile.wall_us * 1.01);
  EXPECT_GT(sum, 0);
}

}  // namespace
}  // namespace tokamak
