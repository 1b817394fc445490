#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <set>

#include "base/json.h"
#include "compile/tuner.h"
#include "engine/engine_config.h"
#include "engine/engine_file.h"
#include "engine/numerics.h"
#include "runtime/tiny_model.h"

namespace tokamak {
namespace {

using ::testing::HasSubstr;
namespace fs = std::filesystem;

BuildOptions with_cache(const fs::path& cache) {
  BuildOptions o;
  o.timing_cache = cache;
  o.max_num_tokens = 8;
  o.max_batch_size = 2;
  return o;
}

CompileReport build_tiny_report(const fs::path& folder, Backend& backend, BuildOptions o,
                                const std::string& name) {
  o.output_dir = folder / name;
  o.quiet = true;
  return build_random(testing::write_tiny_config(folder), DType::f32, o, backend);
}

TEST(Build, SecondBuildTimesNothingAndIsByteIdentical) {
  const auto backend = make_backend("cpu", 2);
  const testing::TempDir folder;
  const auto options = with_cache(folder.path() / "timing.cache");
  const CompileReport first = build_tiny_report(folder.path(), *backend, options, "a");
  EXPECT_GT(first.tuning.timed, 0);
  EXPECT_EQ(first.tuning.cached, 0);
  const CompileReport second = build_tiny_report(folder.path(), *backend, options, "b");
  EXPECT_EQ(second.tuning.timed, 0);
  EXPECT_EQ(second.tuning.cached, first.tuning.timed);
  for (const char* file : {"rank0.engine", "config.json", "timing.cache"})
    EXPECT_EQ(read_text(folder.path() / "a" / file), read_text(folder.path() / "b" / file)) << file;
}

TEST(Build, IdenticalLayersAreTunedOnce) {
  const auto backend = make_backend("cpu", 2);
  const testing::TempDir folder;
  const CompileReport report =
      build_tiny_report(folder.path(), *backend, with_cache(folder.path() / "cache"), "a");
  EXPECT_LT(report.tuning.signatures, report.steps / 2);
}

TEST(Build, DamagedTimingCacheIsIgnored) {
  const auto backend = make_backend("cpu", 2);
  const testing::TempDir folder;
  const auto cache = folder.path() / "timing.cache";
  for (const char* text : {"{\"version\": 2, \"devices\": {\"x\": {\"y\": {\"z\": {\"t\": 1}}}}}",
                           "not json", "{\"version\": 99}", "[]"}) {
    std::ofstream(cache) << text;
    TimingCache read;
    read.load(cache);
    EXPECT_EQ(read.entries(), 0u) << text;
  }
  const CompileReport report = build_tiny_report(folder.path(), *backend, with_cache(cache), "a");
  EXPECT_GT(report.tuning.timed, 0);
  TimingCache now;
  now.load(cache);
  EXPECT_EQ(now.entries(), static_cast<size_t>(report.tuning.timed));
}

TEST(Build, WithoutTuningNothingIsTimed) {
  const auto backend = make_backend("cpu", 2);
  const testing::TempDir folder;
  BuildOptions o;
  o.tuning = false;
  const CompileReport report = build_tiny_report(folder.path(), *backend, o, "a");
  EXPECT_EQ(report.tuning.timed, 0);
  const EngineFile engine = EngineFile::open(folder.path() / "a" / "rank0.engine");
  for (const PlanStep& s : engine.plan().steps)
    for (const TacticChoice& c : s.choices) EXPECT_EQ(c.us, 0);
}

// The table of the tied model serves the embedding and the last linear.
TEST(Build, TiedTableIsStoredOnce) {
  const auto backend = make_backend("cpu", 2);
  if (backend->properties().isa == "reference") GTEST_SKIP() << "one layout only";
  const testing::TempDir folder;
  const auto config = folder.path() / "config.json";
  std::ofstream(config) << R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama",
    "vocab_size": 4096, "hidden_size": 512, "intermediate_size": 1536, "num_hidden_layers": 4,
    "num_attention_heads": 8, "num_key_value_heads": 2, "hidden_act": "silu",
    "max_position_embeddings": 512, "rms_norm_eps": 1e-05, "rope_theta": 10000.0,
    "tie_word_embeddings": true, "torch_dtype": "float32"})";
  BuildOptions o;
  o.tuning = false;  // what it times decides otherwise, and a loaded machine may time anything
  o.output_dir = folder.path() / "engine";
  o.quiet = true;
  build_random(config, DType::q8_0, o, *backend);
  const EngineFile engine = EngineFile::open(folder.path() / "engine" / "rank0.engine");
  int tables = 0;
  for (const PlanWeight& w : engine.plan().weights)
    tables += w.names[0] == "transformer.vocab_embedding.weight";
  EXPECT_EQ(tables, 1);
}

TEST(Build, DeterministicUsesOneTacticForAllBuckets) {
  const auto backend = make_backend("cpu", 2);
  const testing::TempDir folder;
  for (const bool tuning : {false, true}) {
    BuildOptions o = with_cache(folder.path() / "cache");
    o.tuning = tuning;
    o.deterministic = true;
    const std::string name = tuning ? "tuned" : "untuned";
    build_tiny_report(folder.path(), *backend, o, name);
    EXPECT_TRUE(read_engine_config(folder.path() / name).deterministic);
    const EngineFile engine = EngineFile::open(folder.path() / name / "rank0.engine");
    EXPECT_TRUE(is_deterministic(engine.plan()));
    for (const PlanStep& s : engine.plan().steps)
      for (const TacticChoice& c : s.choices) EXPECT_EQ(c.tactic, s.choices[0].tactic) << s.name;
  }
}

TEST(Build, ActivationBitsPerKindOfLinear) {
  const auto backend = make_backend("cpu", 2);
  const testing::TempDir folder;
  BuildOptions o;
  o.tuning = false;
  const auto kinds_with_8 = [&](const std::string& bits) {
    o.activation_bits = bits;
    build_tiny_report(folder.path(), *backend, o, "bits " + bits);
    EXPECT_EQ(read_engine_config(folder.path() / ("bits " + bits)).activation_bits, bits);
    const EngineFile engine = EngineFile::open(folder.path() / ("bits " + bits) / "rank0.engine");
    std::set<std::string> kinds;
    for (const PlanStep& s : engine.plan().steps)
      if ((s.op == Op::linear || s.op == Op::linear_glu) && activation_bits(s) == 8)
        kinds.emplace(name(linear_kind(engine.plan(), s)));
    return kinds;
  };
  using Kinds = std::set<std::string>;
  EXPECT_EQ(kinds_with_8("16"), Kinds{});
  EXPECT_EQ(kinds_with_8("8"), (Kinds{"qkv", "attention_out", "gate_up", "down", "lm_head"}));
  EXPECT_EQ(kinds_with_8("gate_up,down"), (Kinds{"gate_up", "down"}));
  o.activation_bits = "4";
  try {
    build_tiny_report(folder.path(), *backend, o, "bad");
    FAIL() << "4 bits are unknown";
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), HasSubstr("--activation_bits '4'"));
  }
  EXPECT_FALSE(fs::exists(folder.path() / "bad"));
}

TEST(Build, RefusesBeforeAnyWork) {
  const auto backend = make_backend("cpu", 2);
  const testing::TempDir folder;
  BuildOptions o;
  o.tuning = false;
  const auto error = [&](const BuildOptions& options, const std::string& name) -> std::string {
    try {
      build_tiny_report(folder.path(), *backend, options, name);
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  };
  o.max_num_tokens = -3;
  EXPECT_THAT(error(o, "x"), HasSubstr("--max_num_tokens"));
  o.max_num_tokens = 0;
  o.kv_cache_dtype = "int3";
  EXPECT_NE(error(o, "x"), "");
  o.kv_cache_dtype = "auto";
  o.debug_tensors = "no.such.*";
  EXPECT_THAT(error(o, "x"), HasSubstr("no.such.*"));
  EXPECT_FALSE(fs::exists(folder.path() / "x"));
  o.debug_tensors.clear();
  EXPECT_EQ(error(o, "x"), "");
  EXPECT_THAT(error(o, "x"), HasSubstr("exists"));
}

TEST(Tuner, BucketsCoverTheLimit) {
  EXPECT_EQ(power_buckets(1), (std::vector<int32_t>{1}));
  EXPECT_EQ(power_buckets(512).back(), 512);
  EXPECT_EQ(power_buckets(513).back(), 1024);
}

}  // namespace
}  // namespace tokamak
