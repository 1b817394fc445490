// The commands as a user types them, on tiny models: convert → build → run, and every stage in
// place of another; bad input is one clear line and exit code 2.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <random>

#include "base/json.h"
#include "cli/process.h"

namespace tokamak {
namespace {

using test::data;
using test::Outcome;
using test::tokamak_cli;
using testing::HasSubstr;

class Pipeline : public testing::Test {
 protected:
  std::string path(const std::string& name) const { return (dir_.path / name).string(); }
  std::vector<std::string> names() const {
    std::vector<std::string> all;
    for (const auto& e : std::filesystem::directory_iterator(dir_.path))
      all.push_back(e.path().filename().string());
    return all;
  }
  Outcome convert(const std::string& family, const std::vector<std::string>& more = {}) {
    std::vector<std::string> args = {"convert", "--model_dir", data(family).string(),
                                     "--output_dir", path("ckpt")};
    args.insert(args.end(), more.begin(), more.end());
    return tokamak_cli(args);
  }
  Outcome build(const std::vector<std::string>& more = {"--no_tuning"}) {
    std::vector<std::string> args = {"build", "--checkpoint_dir", path("ckpt"), "--output_dir",
                                     path("engine")};
    args.insert(args.end(), more.begin(), more.end());
    return tokamak_cli(args);
  }
  void expect_refused(const Outcome& o, const std::string& part) {
    EXPECT_EQ(o.code, 2) << o.err;
    EXPECT_EQ(o.error_lines(), 1) << o.err;
    EXPECT_THAT(o.err, HasSubstr(part));
  }
  test::TempDir dir_{"pipeline"};
};

// Greedy ids of one prompt of ids, from any stage.
std::vector<int32_t> greedy(const std::string& flag, const std::string& model,
                            const std::string& prompt, const std::string& cache,
                            const std::vector<std::string>& environment = {}) {
  std::ofstream(cache + ".csv") << prompt << "\n";
  const Outcome o = tokamak_cli(
      {"run", flag, model, "--input_file", cache + ".csv", "--json", "--temperature", "0",
       "--max_output_len", "12", "--ignore_eos", "--cache_dir", cache, "--no_tuning"},
      {}, environment);
  EXPECT_EQ(o.code, 0) << o.err;
  return o.code == 0 ? Json::parse(o.out).at(0).at("tokens").get<std::vector<int32_t>>()
                     : std::vector<int32_t>{};
}

TEST_F(Pipeline, ConvertBuildRunAndEveryStageGiveTheSameTokens) {
  ASSERT_EQ(convert("llama").code, 0);
  ASSERT_EQ(build().code, 0);
  const auto engine = greedy("--engine-dir", path("engine"), "5,9,77,3", path("a"));
  EXPECT_EQ(engine.size(), 12u);
  EXPECT_EQ(greedy("--model", path("ckpt"), "5,9,77,3", path("b")), engine);
  EXPECT_EQ(greedy("--model", data("llama").string(), "5,9,77,3", path("c")), engine);
}

// Where no GPU is: an engine for one is built by estimates, and a CPU runs it, too.
TEST_F(Pipeline, AnEngineForAGpuIsBuiltWithoutOneAndRunsOnTheCpu) {
  const auto library = std::filesystem::path(TOKAMAK_BINARY).parent_path() / "libtokamak_cuda.so";
  if (!std::filesystem::exists(library)) GTEST_SKIP() << "this build has no CUDA backend";
  const std::vector<std::string> no_gpu = {"CUDA_VISIBLE_DEVICES="};
  ASSERT_EQ(convert("llama", {"--dtype", "float32"}).code, 0);
  ASSERT_EQ(build().code, 0);
  const auto want = greedy("--engine-dir", path("engine"), "5,9,77,3", path("a"));
  const std::vector<std::string> args = {
      "build", "--checkpoint_dir", path("ckpt"), "--output_dir", path("gpu"), "--device", "cuda"};
  const Outcome tuned = tokamak_cli(args, {}, no_gpu);
  expect_refused(tuned, "--no_tuning builds an engine without a GPU");
  std::vector<std::string> untuned = args;
  untuned.push_back("--no_tuning");
  const Outcome built = tokamak_cli(untuned, {}, no_gpu);
  ASSERT_EQ(built.code, 0) << built.err;
  EXPECT_THAT(built.err, HasSubstr("will be tuned where it is opened"));
  const Json config = Json::parse(test::file_text(path("gpu") + "/config.json"));
  EXPECT_THAT(config.dump(), HasSubstr("sm_90"));
  EXPECT_EQ(greedy("--engine-dir", path("gpu"), "5,9,77,3", path("b")), want);
}

TEST_F(Pipeline, AnEngineOfOneLevelAnswersTheSameOnEveryOther) {
  ASSERT_EQ(convert("qwen3", {"--dtype", "float32"}).code, 0);
  const Outcome devices = tokamak_cli({"devices", "--json"});
  ASSERT_EQ(devices.code, 0);
  std::vector<std::string> levels;
  const Json parsed = Json::parse(devices.out);
  for (const Json& level : parsed.at("devices").at(0).at("isa_levels"))
    if (level.at("available").get<bool>()) levels.push_back(level.at("name"));
  ASSERT_THAT(levels, testing::Contains("reference"));
  std::vector<int32_t> expected;
  for (const std::string& built : levels) {
    std::filesystem::remove_all(path("engine"));
    ASSERT_EQ(tokamak_cli({"build", "--checkpoint_dir", path("ckpt"), "--output_dir",
                           path("engine"), "--kv_cache_dtype", "float32"},
                          {}, {"TOKAMAK_ISA=" + built})
                  .code,
              0);
    for (const std::string& opened : levels) {
      const auto ids = greedy("--engine_dir", path("engine"), "1,2,3,4,5,6,7", path("x"),
                              {"TOKAMAK_ISA=" + opened});
      if (expected.empty()) expected = ids;
      EXPECT_EQ(ids, expected) << built << " opened on " << opened;
    }
  }
}

TEST_F(Pipeline, SecondBuildWithTheTimingCacheIsByteIdentical) {
  ASSERT_EQ(convert("llama").code, 0);
  ASSERT_EQ(build({"--timing_cache", path("timing.cache")}).code, 0);
  const std::string first = test::file_text(dir_.path / "engine/rank0.engine");
  std::filesystem::remove_all(path("engine"));
  const std::string cache = test::file_text(path("timing.cache"));
  ASSERT_EQ(build({"--timing_cache", path("timing.cache")}).code, 0);
  EXPECT_EQ(test::file_text(dir_.path / "engine/rank0.engine"), first);
  EXPECT_EQ(test::file_text(path("timing.cache")), cache);
}

TEST_F(Pipeline, BuildAndExplainNameWinnersAndLosers) {
  ASSERT_EQ(convert("llama").code, 0);
  for (const bool known : {false, true}) {  // times measured now, and those of the cache
    const Outcome built = build({"--timing_cache", path("timing.cache"), "--overwrite"});
    ASSERT_EQ(built.code, 0);
    EXPECT_THAT(built.err, testing::HasSubstr("largest step"));
    EXPECT_THAT(built.err, testing::ContainsRegex(known ? " 0 were timed" : " 0 known from"));
    const Outcome explained = tokamak_cli({"explain", path("engine"), "--verbose"});
    ASSERT_EQ(explained.code, 0) << explained.err;
    EXPECT_THAT(explained.out, testing::HasSubstr("This step as it was tuned"));
    EXPECT_THAT(explained.out, testing::ContainsRegex(" timed"));
    const size_t table = explained.out.find("Every step size");
    ASSERT_NE(table, std::string::npos);
    for (const char* bucket : {"≤1 tokens", "≤8 tokens", "≤1 rows"})
      EXPECT_NE(explained.out.find(bucket, table), std::string::npos) << bucket;
  }
}

TEST_F(Pipeline, BadInputIsOneLineAndLeavesNothing) {
  const Outcome unknown =
      tokamak_cli({"convert", "--model_dir", path("nowhere"), "--output_dir", path("ckpt")});
  expect_refused(unknown, "nowhere");
  expect_refused(convert("llama", {"--tp_size", "3"}), "--tp_size");
  expect_refused(convert("llama", {"--dtype", "float7"}), "float7");
  EXPECT_TRUE(names().empty()) << testing::PrintToString(names());
  ASSERT_EQ(convert("llama").code, 0);
  expect_refused(convert("llama"), "ckpt");  // exists
  ASSERT_EQ(build().code, 0);
  expect_refused(build(), "engine");
  expect_refused(
      tokamak_cli({"run", "--engine_dir", path("ckpt") + "/config.json", "--input_text", "x"}),
      "config.json");
  expect_refused(tokamak_cli({"run", "--engine_dir", path("engine")}), "--input_text");
}

TEST_F(Pipeline, UnknownArchitectureNamesTheNearest) {
  std::filesystem::copy(data("llama"), dir_.path / "odd");
  std::string config = test::file_text(dir_.path / "odd/config.json");
  config.replace(config.find("LlamaForCausalLM"), 16, "LlamoForCausalLM");
  std::ofstream(dir_.path / "odd/config.json") << config;
  const Outcome o =
      tokamak_cli({"convert", "--model_dir", path("odd"), "--output_dir", path("ckpt")});
  expect_refused(o, "LlamoForCausalLM");
  EXPECT_THAT(o.err, HasSubstr("LlamaForCausalLM"));
  EXPECT_THAT(o.err, HasSubstr("Qwen3ForCausalLM"));
}

TEST_F(Pipeline, AnEngineOfAnOlderFormatSaysSo) {
  ASSERT_EQ(convert("llama").code, 0);
  ASSERT_EQ(build().code, 0);
  std::string engine = test::file_text(dir_.path / "engine/rank0.engine");
  engine[8] = 0;  // the format version
  std::ofstream(dir_.path / "engine/rank0.engine", std::ios::binary) << engine;
  const Outcome o = tokamak_cli({"run", "--engine_dir", path("engine"), "--input_text", "x"});
  expect_refused(o, "version 0");
  EXPECT_THAT(o.err, HasSubstr("build"));
}

TEST_F(Pipeline, AnInterruptAtAnyMomentLeavesAllOrNothing) {
  std::mt19937 random(5);
  std::printf("seed 5\n");
  int complete = 0, absent = 0;
  for (int i = 0; i < 40; ++i) {
    std::filesystem::remove_all(path("ckpt"));
    tokamak_cli({"convert", "--model_dir", data("gemma3").string(), "--output_dir", path("ckpt")},
                std::chrono::microseconds(500 + random() % 30000));
    if (std::filesystem::exists(path("ckpt"))) {
      ++complete;
      EXPECT_EQ(tokamak_cli({"inspect", path("ckpt")}).code, 0);
    } else {
      ++absent;
    }
    for (const std::string& n : names()) EXPECT_EQ(n, "ckpt");
  }
  std::printf("complete %d, absent %d\n", complete, absent);
}

TEST_F(Pipeline, DebugTensorsAreWritten) {
  ASSERT_EQ(convert("llama").code, 0);
  std::ofstream(path("p.csv")) << "5,9,77,3\n";
  const Outcome o =
      tokamak_cli({"run", "--model", path("ckpt"), "--cache_dir", path("cache"), "--no_tuning",
                   "--input_file", path("p.csv"), "--max_output_len", "2", "--debug_tensors",
                   "*layers.1.mlp*", "--debug_dir", path("debug")});
  ASSERT_EQ(o.code, 0) << o.err;
  int arrays = 0;
  for (const auto& e : std::filesystem::recursive_directory_iterator(path("debug")))
    arrays += e.path().extension() == ".npy";
  EXPECT_GE(arrays, 2);
}

}  // namespace
}  // namespace tokamak
