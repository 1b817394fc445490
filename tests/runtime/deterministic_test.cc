// Deterministic sessions: a prompt's logits bit for bit the same alone and among others, whole and
// in chunks, with any number of workers; and greedy tokens that do not depend on the workers.
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <random>

#include "backend/cuda_plugin.h"
#include "engine/numerics.h"
#include "runtime/session.h"
#include "runtime/tiny_model.h"

namespace tokamak {
namespace {

namespace fs = std::filesystem;
using Rows = std::vector<std::vector<float>>;

constexpr int kVocab = 512;

// Wide enough for blocks of 256 inputs, several tasks a linear and inputs in more than one stretch.
fs::path write_config(const fs::path& folder, int hidden = 256, int heads = 8) {
  const auto path = folder / "wide.json";
  std::ofstream(path) << fmt::format(R"({{"architectures": ["LlamaForCausalLM"],
    "hidden_size": {}, "num_attention_heads": {}, )",
                                     hidden, heads)
                      << R"("model_type": "llama", "vocab_size": 512,
    "intermediate_size": 768, "num_hidden_layers": 2, "num_key_value_heads": 2, "hidden_act": "silu",
    "max_position_embeddings": 4096, "rms_norm_eps": 1e-05, "rope_theta": 10000.0,
    "tie_word_embeddings": false, "torch_dtype": "float32"})";
  return path;
}

fs::path build_wide(const fs::path& folder, DType dtype, BuildOptions o, const std::string& name) {
  const auto backend = make_backend("cpu", 2);
  o.output_dir = folder / name;
  o.quiet = true;
  o.max_num_tokens = 256;
  o.max_batch_size = 8;
  build_random(write_config(folder), dtype, o, *backend);
  return o.output_dir;
}

std::vector<int32_t> random_tokens(size_t n, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<int32_t> tokens(n);
  for (int32_t& t : tokens) t = static_cast<int32_t>(random() % kVocab);
  return tokens;
}

void copy_rows(const LogitRows& logits, int64_t begin, int64_t end, Rows& rows) {
  for (int64_t i = begin; i < end; ++i)
    rows.emplace_back(logits.row(i).begin(), logits.row(i).end());
}

// The prompt's logits, then those of `extra` decoded alone.
Rows alone(Session& session, const std::vector<int32_t>& prompt,
           const std::vector<int32_t>& extra) {
  Rows rows;
  const int32_t s = session.add_sequence();
  const SequenceInput input{s, prompt, WantLogits::all};
  const LogitRows logits = session.step({&input, 1});
  copy_rows(logits, 0, logits.rows, rows);
  for (size_t i = 0; i < extra.size(); ++i) {
    const SequenceInput next{s, std::span(extra).subspan(i, 1)};
    copy_rows(session.step({&next, 1}), 0, 1, rows);
  }
  session.remove_sequence(s);
  return rows;
}

// The same within a batch of `others` more sequences, at place `place` of it.
Rows among(Session& session, const std::vector<int32_t>& prompt, const std::vector<int32_t>& extra,
           int others, int place) {
  Rows rows;
  std::vector<std::vector<int32_t>> prompts, decoded;
  std::vector<int32_t> ids;
  for (int i = 0; i <= others; ++i) {
    const auto seed = static_cast<uint32_t>(100 + i);
    prompts.push_back(i == place ? prompt : random_tokens(1 + 37 * i % 90, seed));
    decoded.push_back(i == place ? extra : random_tokens(extra.size(), seed + 50));
    ids.push_back(session.add_sequence());
  }
  std::vector<SequenceInput> inputs;
  for (int i = 0; i <= others; ++i)
    inputs.push_back({ids[i], prompts[i], i == place ? WantLogits::all : WantLogits::none});
  const LogitRows logits = session.step(inputs);
  copy_rows(logits, 0, logits.rows, rows);
  for (size_t k = 0; k < extra.size(); ++k) {
    inputs.clear();
    for (int i = 0; i <= others; ++i)
      inputs.push_back({ids[i], std::span(decoded[i]).subspan(k, 1)});
    copy_rows(session.step(inputs), place, place + 1, rows);
  }
  for (const int32_t id : ids) session.remove_sequence(id);
  return rows;
}

void expect_same_bits(const Rows& a, const Rows& b) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i)
    ASSERT_EQ(std::memcmp(a[i].data(), b[i].data(), a[i].size() * sizeof(float)), 0)
        << "row " << i << ": first logits " << a[i][0] << " and " << b[i][0];
}

class DeterministicTest : public ::testing::TestWithParam<DType> {};

TEST_P(DeterministicTest, LogitsDoNotDependOnTheRestOfTheStep) {
  const testing::TempDir folder;
  BuildOptions build;
  build.tuning = false;
  build.deterministic = true;
  const fs::path engine = build_wide(folder.path(), GetParam(), build, "engine");
  const auto prompt = random_tokens(230, 1), extra = random_tokens(4, 2);
  Rows expected;
  for (const int workers : {2, 1, 3, 8}) {
    SCOPED_TRACE(fmt::format("{} workers", workers));
    const auto backend = make_backend("cpu", workers);
    Session session(engine, *backend, {.max_num_tokens = 1024});
    ASSERT_TRUE(is_deterministic(session.plan()));
    EXPECT_EQ(session.program().reselected_steps(), 0);
    const Rows rows = alone(session, prompt, extra);
    if (expected.empty()) expected = rows;
    expect_same_bits(rows, expected);
    for (const int others : {1, 3, 7}) {
      SCOPED_TRACE(fmt::format("{} others", others));
      expect_same_bits(among(session, prompt, extra, others, others / 2), expected);
    }
    for (const int64_t chunk : {1, 7, 64}) {
      if (chunk == 1 && workers > 2) continue;
      SCOPED_TRACE(fmt::format("chunks of {}", chunk));
      Session chunked(engine, *backend, {.max_num_tokens = chunk, .kv_block_size = 16});
      expect_same_bits(alone(chunked, prompt, extra), expected);
    }
  }
}

// The same on a GPU; keys beyond those that one turn of its attention takes, rows of norms that are
// more than a warp's, and steps of many tokens.
TEST(DeviceDeterministic, LogitsDoNotDependOnTheRestOfTheStep) {
  std::unique_ptr<Backend> backend;
  try {
    backend = load_cuda_backend();
  } catch (const Error& e) {
    ASSERT_EQ(std::getenv("TOKAMAK_NEED_CUDA"), nullptr) << e.what();
    GTEST_SKIP() << e.what();
  }
  const auto prompt = random_tokens(330, 1), extra = random_tokens(6, 2);
  for (const auto& [cache, fp8] :
       {std::pair{"float16", false}, {"fp8", false}, {"int8", false}, {"fp8", true}}) {
    const testing::TempDir folder;
    BuildOptions build;
    build.tuning = false;
    build.deterministic = true;
    build.kv_cache_dtype = cache;
    build.output_dir = folder.path() / "engine";
    build.quiet = true;
    build.max_batch_size = 20;
    build.max_num_tokens = 2048;
    if (fp8) build.quantization = {.bits = 8, .fp8 = true};
    build_random(write_config(folder.path(), 1280, 10), DType::f16, build, *backend);
    const auto session = [&](int64_t most) {
      return Session(build.output_dir, *backend, {.max_num_tokens = most, .kv_tokens = 8192});
    };
    Session whole = session(2048);
    const Rows expected = alone(whole, prompt, extra);
    for (const int others : {1, 7, 19}) {
      SCOPED_TRACE(
          fmt::format("{} weights, {} cache, {} others", fp8 ? "fp8" : "float16", cache, others));
      expect_same_bits(among(whole, prompt, extra, others, others / 2), expected);
    }
    for (const int64_t chunk : {1, 3, 7, 64, 130}) {
      SCOPED_TRACE(
          fmt::format("{} weights, {} cache, chunks of {}", fp8 ? "fp8" : "float16", cache, chunk));
      Session chunked = session(chunk);
      expect_same_bits(alone(chunked, prompt, extra), expected);
    }
  }
}

// Contexts that decoding divides into parts, int8 keys and values, activations in 8 bits.
TEST(Deterministic, LongContextsInFewBits) {
  const testing::TempDir folder;
  for (const bool int8 : {false, true}) {
    BuildOptions build;
    build.tuning = false;
    build.deterministic = true;
    build.kv_cache_dtype = int8 ? "int8" : "float16";
    build.activation_bits = int8 ? "8" : "16";
    const fs::path engine =
        build_wide(folder.path(), DType::q4_1, build, int8 ? "int8" : "float16");
    const auto prompt = random_tokens(1700, 6), extra = random_tokens(3, 7);
    Rows expected;
    for (const int workers : {2, 1, 3, 8}) {
      SCOPED_TRACE(fmt::format("{} workers, KV {}", workers, build.kv_cache_dtype));
      const auto backend = make_backend("cpu", workers);
      Session session(engine, *backend, {.max_num_tokens = 2048});
      const Rows rows = alone(session, prompt, extra);
      if (expected.empty()) expected = rows;
      expect_same_bits(rows, expected);
      expect_same_bits(among(session, prompt, extra, 4, 3), expected);
      Session chunked(engine, *backend, {.max_num_tokens = 300});
      expect_same_bits(alone(chunked, prompt, extra), expected);
    }
  }
}

// An engine that was built without the flag gets other tactics when it opens, its weights stay.
TEST_P(DeterministicTest, OpensAnEngineThatWasNotBuiltSo) {
  const testing::TempDir folder;
  BuildOptions build;
  build.tuning = GetParam() == DType::q4_1;  // with times on record, and without
  const fs::path engine = build_wide(folder.path(), GetParam(), build, "engine");
  const auto prompt = random_tokens(100, 3), extra = random_tokens(2, 4);
  const auto backend = make_backend("cpu", 2);
  Session session(engine, *backend, {.deterministic = true});
  EXPECT_EQ(session.program().repacked_bytes(), 0);
  for (size_t s = 0; s < session.plan().steps.size(); ++s)
    EXPECT_EQ(session.program().tactic(s, 1, 1), session.program().tactic(s, 256, 8));
  const Rows expected = alone(session, prompt, extra);
  expect_same_bits(among(session, prompt, extra, 5, 2), expected);
}

INSTANTIATE_TEST_SUITE_P(Weights, DeterministicTest,
                         ::testing::Values(DType::f32, DType::bf16, DType::f16, DType::q8_0,
                                           DType::q4_0, DType::q4_1, DType::q4_k, DType::q6_k),
                         [](const auto& p) { return std::string(name(p.param)); });

// Greedy tokens of an ordinary engine: the workers only change who computes.
TEST(Workers, GreedyTokensAreEqual) {
  const testing::TempDir folder;
  BuildOptions build;
  build.tuning = false;
  const fs::path engine = build_wide(folder.path(), DType::q4_1, build, "engine");
  const auto prompt = random_tokens(150, 5);
  std::vector<int32_t> expected;
  for (const int workers : {1, 2, 3, 8}) {
    const auto backend = make_backend("cpu", workers);
    ASSERT_EQ(backend->properties().workers, workers);
    Session session(engine, *backend);
    const int32_t s = session.add_sequence();
    std::vector<int32_t> tokens = prompt;
    std::span<const int32_t> next(tokens);
    std::vector<int32_t> chosen;
    for (int i = 0; i < 24; ++i) {
      const SequenceInput input{s, next};
      const auto row = session.step({&input, 1}).row(0);
      chosen.push_back(
          static_cast<int32_t>(std::max_element(row.begin(), row.end()) - row.begin()));
      next = std::span(chosen).last(1);
    }
    if (expected.empty()) expected = chosen;
    EXPECT_EQ(chosen, expected) << workers << " workers";
  }
}

}  // namespace
}  // namespace tokamak
