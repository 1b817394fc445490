// tokamak quantize, convert --use_weight_only and eval kl as a user types them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/json.h"
#include "cli/process.h"

namespace tokamak {
namespace {

using test::data;
using test::Outcome;
using test::tokamak_cli;
using testing::AllOf;
using testing::HasSubstr;

class QuantizeCommand : public testing::Test {
 protected:
  std::string path(const std::string& name) const { return (dir_.path / name).string(); }
  // Of the tiny model, whose layers have 40 and 56 inputs.
  Outcome quantize(std::vector<std::string> more) {
    more.insert(more.begin(), {"quantize", "--output_dir", path("out")});
    return tokamak_cli(more);
  }
  // What is wrong, what was found and what would do, in one line; and nothing is left behind.
  void expect_refused(const Outcome& o, const testing::Matcher<std::string>& message) {
    EXPECT_EQ(o.code, 2) << o.err;
    EXPECT_EQ(o.error_lines(), 1) << o.err;
    EXPECT_THAT(o.err, message);
    EXPECT_FALSE(std::filesystem::exists(path("out")));
  }
  const std::string tiny_ = data("llama").string();
  test::TempDir dir_{"quantize"};
};

TEST_F(QuantizeCommand, RefusesInOneLine) {
  ASSERT_EQ(tokamak_cli({"convert", "--model_dir", tiny_, "--output_dir", path("ckpt")}).code, 0);
  const std::string ckpt = path("ckpt");
  const auto of_checkpoint = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {"--checkpoint_dir", ckpt});
    return quantize(more);
  };
  expect_refused(of_checkpoint({}), HasSubstr("--qformat is required"));
  expect_refused(of_checkpoint({"--qformat", "int3"}), HasSubstr("known: fp8, int8_wo, int4_wo"));
  expect_refused(of_checkpoint({"--qformat", "int4_wo", "--group_size", "48"}),
                 AllOf(HasSubstr("--group_size is 48"), HasSubstr("32, 64, 128 or -1")));
  expect_refused(of_checkpoint({"--qformat", "int4_wo", "--group_size", "32"}),
                 AllOf(HasSubstr("does not divide the 40 inputs"), HasSubstr("would do: -1")));
  expect_refused(of_checkpoint({"--qformat", "int8_wo", "--exclude_modules", "mlp.down_proj"}),
                 AllOf(HasSubstr("'mlp.down_proj' matches no module"), HasSubstr("mlp.proj")));
  expect_refused(of_checkpoint({"--qformat", "int8_wo", "--exclude_modules", "*"}),
                 HasSubstr("nothing is left to quantize"));
  expect_refused(of_checkpoint({"--qformat", "int8_wo", "--model_dir", tiny_}),
                 HasSubstr("one of them"));
  expect_refused(of_checkpoint({"--qformat", "int8_wo", "--tp_size", "2"}),
                 HasSubstr("go with --model_dir"));
  expect_refused(of_checkpoint({"--qformat", "int8_wo", "--eval_text", path("none.txt")}),
                 HasSubstr("none.txt"));
  expect_refused(quantize({"--qformat", "int8_wo"}), HasSubstr("--checkpoint_dir or --model_dir"));
  expect_refused(quantize({"--qformat", "int8_wo", "--checkpoint_dir", path("absent")}),
                 HasSubstr("absent"));
  expect_refused(tokamak_cli({"convert", "--model_dir", tiny_, "--output_dir", path("out"),
                              "--weight_only_precision", "int4"}),
                 HasSubstr("without --use_weight_only"));
}

TEST_F(QuantizeCommand, WhatItMadeIsRefusedTheSecondTime) {
  const std::vector<std::string> first = {"quantize",  "--model_dir", tiny_,    "--output_dir",
                                          path("one"), "--qformat",   "int8_wo"};
  const Outcome made = tokamak_cli(first);
  ASSERT_EQ(made.code, 0) << made.err;
  EXPECT_THAT(made.out, AllOf(HasSubstr("int8_row"), HasSubstr("kept"), HasSubstr("together")));
  expect_refused(
      quantize({"--qformat", "int4_wo", "--group_size", "-1", "--checkpoint_dir", path("one")}),
      HasSubstr("is quantized already (W8A16, a scale per row)"));
  EXPECT_EQ(tokamak_cli(first).code, 2);  // the directory exists
}

TEST_F(QuantizeCommand, ConvertMakesTheSameInOnePass) {
  ASSERT_EQ(quantize({"--model_dir", tiny_, "--qformat", "int8_wo", "--quantize_lm_head"}).code, 0);
  const Outcome o = tokamak_cli({"convert", "--model_dir", tiny_, "--output_dir", path("direct"),
                                 "--use_weight_only", "--quantize_lm_head"});
  ASSERT_EQ(o.code, 0) << o.err;
  for (const char* file : {"/rank0.safetensors", "/config.json"})
    EXPECT_EQ(test::file_text(path("out") + file), test::file_text(path("direct") + file));
}

// SmolLM2, in a few short windows.
class Divergence : public QuantizeCommand {
 protected:
  Divergence() {
    if (const char* model = std::getenv("TOKAMAK_TEST_SMOLLM2")) model_ = model;
  }
  Outcome kl(std::vector<std::string> more, const std::string& ctx = "64",
             const std::string& windows = "2") {
    more.insert(more.begin(), {"eval", "kl", "--text", text_, "--ctx", ctx, "--windows", windows,
                               "--no_tuning", "--cache_dir", path("cache")});
    return tokamak_cli(more);
  }
  std::string model_;
  const std::string text_ = TOKAMAK_TEST_DATA "/text/founding.txt";
};

TEST_F(Divergence, OfModelsInOneRun) {
  ASSERT_FALSE(model_.empty()) << "run the tests by ./dev test, which fetches the models";
  ASSERT_EQ(quantize({"--model_dir", model_, "--qformat", "int8_wo"}).code, 0);
  const Outcome o = kl({"--reference", model_, "--model", model_, "--also", path("out"),
                        "--activation_bits", "16", "--json"});  // as the reference always has
  ASSERT_EQ(o.code, 0) << o.err;
  const Json results = Json::parse(o.out);
  ASSERT_EQ(results.size(), 2u);
  EXPECT_EQ(results[0].at("kl_divergence").get<double>(), 0);
  EXPECT_EQ(results[0].at("perplexity_change").get<double>(), 0);
  EXPECT_EQ(results[0].at("same_likeliest_token").get<double>(), 1);
  EXPECT_EQ(results[1].at("model").get<std::string>(), path("out"));
  EXPECT_EQ(results[1].at("scored_tokens").get<int>(), 2 * 31);
  EXPECT_GT(results[1].at("kl_divergence").get<double>(), 0);
  EXPECT_LT(results[1].at("kl_divergence").get<double>(), 0.1);  // contexts this short feel it most
}

TEST_F(Divergence, RefusesInOneLine) {
  ASSERT_FALSE(model_.empty()) << "run the tests by ./dev test, which fetches the models";
  expect_refused(kl({"--model", model_}), HasSubstr("--reference is required"));
  expect_refused(kl({"--reference", model_, "--model", tiny_}),
                 HasSubstr("49152 and 131 words; expected the same vocabulary"));
  expect_refused(kl({"--reference", model_, "--model", model_}, "64", "-1"),
                 HasSubstr("--windows is -1"));
  expect_refused(kl({"--reference", model_, "--model", model_}, "100000"),
                 HasSubstr("needs at least as many"));
  expect_refused(kl({"--reference", path("absent"), "--model", model_}), HasSubstr("absent"));
}

}  // namespace
}  // namespace tokamak
