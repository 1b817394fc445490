#include "formats/model_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "formats/checkpoint.h"
#include "formats/temp_dir.h"

#include <nlohmann/json.hpp>

namespace tokamak {
namespace {

using ::testing::HasSubstr;

ModelConfig sample() {
  ModelConfig c;
  c.architecture = "Gemma3ForCausalLM";
  c.model_type = "gemma3";
  c.dtype = DType::f16;
  c.vocab_size = 100;
  c.hidden_size = 32;
  c.intermediate_size = 64;
  c.num_hidden_layers = 2;
  c.num_attention_heads = 4;
  c.num_key_value_heads = 2;
  c.head_size = 16;
  c.max_position_embeddings = 128;
  c.hidden_act = "gelu_tanh";
  c.norm_epsilon = 1e-6;
  c.tie_word_embeddings = c.qk_norm = c.sandwich_norms = true;
  c.rotary_local_base = 10000;
  c.rotary_base = 1e6;
  c.layer_windows = {16, 0};
  c.no_rope_layers = {false, true};
  c.embedding_scale = 5.656854249492381;
  c.attention_scale = 0.0625;
  c.final_softcap = 30;
  c.mapping = {2, 3};
  c.quantization.quant_algo = "GGUF";
  c.quantization.exclude_modules = {"lm_head"};
  c.extra["vocab_size_padded"] = "104";
  c.rotary_scaling = {
      .kind = "yarn", .factor = 4, .original_max_position = 32, .beta_fast = 16, .truncate = false};
  return c;
}

TEST(ModelConfig, JsonRoundTripKeepsEveryField) {
  const Json once = sample().to_json();
  const Json twice = ModelConfig::from_json(once, "c").to_json();
  EXPECT_EQ(once.dump(), twice.dump());
  EXPECT_EQ(once.at("mapping").at("world_size"), 6);
  EXPECT_EQ(once.at("quantization").at("kv_cache_quant_algo"), nullptr);
  ModelConfig longrope = sample();
  longrope.rotary_scaling = {.kind = "longrope",
                             .factor = 2,
                             .original_max_position = 32,
                             .short_factor = std::vector<double>(8, 1.5),
                             .long_factor = std::vector<double>(8, 2.5)};
  EXPECT_EQ(longrope.to_json().dump(),
            ModelConfig::from_json(longrope.to_json(), "c").to_json().dump());
}

std::string error_with(const char* field, Json value) {
  Json j = sample().to_json();
  j[field] = std::move(value);
  return error_of([&] { ModelConfig::from_json(j, "dir/config.json"); });
}

TEST(ModelConfig, ErrorsNameFileFieldAndValue) {
  EXPECT_EQ(error_with("vocab_size", -4),
            "'dir/config.json': vocab_size is -4, expected 1 to 268435456");
  EXPECT_THAT(error_with("vocab_size", "many"), HasSubstr("holds \"many\", expected an integer"));
  EXPECT_THAT(error_with("vocab_size", nullptr), HasSubstr("no field 'vocab_size'"));
  EXPECT_THAT(error_with("num_key_value_heads", 3), HasSubstr("not a multiple"));
  EXPECT_THAT(error_with("hidden_act", "swoosh"), HasSubstr("known: silu"));
  EXPECT_THAT(error_with("dtype", "q4_0"), HasSubstr("known: float32, float16, bfloat16"));
  EXPECT_THAT(error_with("dtype", "int99"), HasSubstr("unknown dtype"));
  EXPECT_THAT(error_with("layer_windows", {1, 2, 3}), HasSubstr("one for each of the 2 layers"));
  EXPECT_THAT(error_with("rotary_scaling", {{"rope_type", "mrope"}}), HasSubstr("known: none"));
  EXPECT_THAT(error_with("rotary_scaling", {{"rope_type", "linear"}, {"factor", 0}}),
              HasSubstr("positive"));
  EXPECT_THAT(error_with("rotary_pct", 1.5), HasSubstr("rotary_pct"));
  EXPECT_THAT(error_with("mapping", {{"tp_size", 0}}), HasSubstr("mapping.tp_size is 0"));
  EXPECT_THAT(error_with("mapping", 3), HasSubstr("expected an object"));
  EXPECT_THAT(error_with("norm_epsilon", 0), HasSubstr("norm_epsilon"));
}

TEST(ModelConfig, QueriesKeysAndValuesHaveOneScale) {
  const std::string layer = "transformer.layers.10.";
  for (const char* part : {"q", "k", "v", "qkv"})
    EXPECT_EQ(scaled_module(layer + "attention." + part + ".weight"), layer + "attention.qkv");
  EXPECT_EQ(scaled_module(layer + "attention.dense.weight"), layer + "attention.dense");
  EXPECT_EQ(scaled_module(layer + "mlp.fc.weight"), layer + "mlp.fc");
  EXPECT_EQ(scaled_module("lm_head.weight"), "lm_head");
}

TEST(Checkpoint, BlocksComeBackWithTheirFormat) {
  const TempDir dir;
  ModelConfig c = sample();
  c.mapping = {};
  dir.write("config.json", c.to_json().dump());
  const auto write = [&](const std::string& record) {
    SafetensorsWriter w(dir / "rank0.safetensors",
                        {{"n", DType::f32, {3}}, {"w", DType::u8, {2, 36}}}, {{"block:w", record}});
    w.write(0, 0, std::vector<std::byte>(12));
    w.write(1, 0, std::vector<std::byte>(72));
    w.finish();
  };
  write("q4_0 2 64");
  const Checkpoint k = Checkpoint::open(dir.path());
  EXPECT_EQ(k.tensor("w").dtype, DType::q4_0);
  EXPECT_TRUE(k.tensor("w").shape == (Shape{2, 64}));
  EXPECT_EQ(k.tensor("n").dtype, DType::f32);
  EXPECT_FALSE(k.has("x"));
  EXPECT_THAT(error_of([&] { k.tensor("x"); }), HasSubstr("has no tensor 'x'"));
  EXPECT_THAT(error_of([&] { Checkpoint::open(dir.path(), 1); }), HasSubstr("rank 1"));
  for (const char* bad : {"q4_0 2 32", "q4_0 3 64", "f32 2 9", "q4_0 2 60", "q4_0", "q4_0 2 64 5",
                          "zz 2 64", "q4_0 -2 64", "q4_0 99999999999999999999999 64"}) {
    write(bad);
    EXPECT_NE(error_of([&] { Checkpoint::open(dir.path()); }), "") << bad;
  }
}

}  // namespace
}  // namespace tokamak
