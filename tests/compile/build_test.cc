#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "base/json.h"
#include "compile/tuner.h"
#include "engine/engine_file.h"
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
  for (const char* text : {"{\"version\": 1, \"devices\": {\"x\": {\"y\": {\"z\": {\"t\": 1}}}}}",
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
