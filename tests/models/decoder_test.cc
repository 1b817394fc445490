#include "models/decoder.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "base/error_of.h"
#include "graph/debug.h"
#include "graph/passes/pass.h"
#include "graph/printer.h"
#include "models/fake_weights.h"
#include "ops/attention.h"

namespace tokamak {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

ModelConfig small_llama() {
  ModelConfig c;
  c.vocab_size = 320;
  c.hidden_size = 64;
  c.num_hidden_layers = 2;
  c.num_attention_heads = 4;
  c.num_key_value_heads = 2;
  c.head_size = 16;
  c.intermediate_size = 96;
  c.max_position_embeddings = 128;
  c.tie_word_embeddings = true;
  return c;
}

Graph build(const ModelConfig& c, bool joined_qkv = true, DType dtype = DType::f32,
            DType activation = DType::f32) {
  const test::FakeWeights weights = test::decoder_weights(c, joined_qkv, dtype);
  Graph g = build_decoder(c, weights.lookup(), activation);
  g.check();
  return g;
}

std::vector<std::string> ops(const Graph& g) {
  std::vector<std::string> names;
  for (const Node& n : g.nodes()) names.emplace_back(name(n.op));
  return names;
}

const std::vector<std::string> kFusedTwoLayers = {
    "embedding",   "rms_norm",  //
    "linear",      "slice",        "slice",      "slice",  "attention",
    "linear",      "add_rms_norm", "linear_glu", "linear", "add_rms_norm",  //
    "linear",      "slice",        "slice",      "slice",  "attention",
    "linear",      "add_rms_norm", "linear_glu", "linear", "add_rms_norm",  //
    "gather_rows", "linear"};

TEST(Decoder, LlamaFusesToTheKnownForm) {
  Graph g = build(small_llama());
  run_passes(g, default_passes());
  EXPECT_EQ(ops(g), kFusedTwoLayers) << to_text(g);
}

TEST(Decoder, ApartProjectionsJoinToTheSameForm) {
  Graph g = build(small_llama(), /*joined_qkv=*/false, DType::q4_1);
  run_passes(g, default_passes());
  EXPECT_EQ(ops(g), kFusedTwoLayers) << to_text(g);
  for (const Value& v : g.values()) {
    if (v.weight_names.size() != 3) continue;
    EXPECT_THAT(v.weight_names[1], HasSubstr("attention.k.weight"));
    EXPECT_EQ(str(v.type), "q4_1{128, 64}");
  }
}

const Node& attention_of(const Graph& g, int64_t layer) {
  for (const Node& n : g.nodes())
    if (n.op == Op::attention && n.attrs.get<int64_t>("layer") == layer) return n;
  throw std::runtime_error("no such layer");
}

TEST(Decoder, Qwen3NormsOfHeadsAndBiasesMoveIn) {
  ModelConfig c = small_llama();
  c.qk_norm = c.qkv_bias = c.tie_word_embeddings = true;
  Graph g = build(c, false);
  run_passes(g, default_passes());
  EXPECT_EQ(ops(g), kFusedTwoLayers) << to_text(g);
  const AttentionAttrs a = AttentionAttrs::from(attention_of(g, 1).attrs);
  EXPECT_TRUE(a.qk_norm && a.has_rope);
  EXPECT_EQ(a.qk_norm_eps, c.norm_epsilon);
}

TEST(Decoder, Gemma3WindowsTakeTheLocalBase) {
  ModelConfig c = small_llama();
  c.sandwich_norms = c.qk_norm = true;
  c.layer_windows = {16, 0};
  c.rotary_base = 1e6;
  c.rotary_local_base = 1e4;
  c.rotary_scaling.kind = "linear";
  c.rotary_scaling.factor = 8;
  c.embedding_scale = 8;
  c.hidden_act = "gelu_pytorch_tanh";
  c.attention_softcap = 50;
  c.final_softcap = 30;
  Graph g = build(c);
  run_passes(g, default_passes());
  const AttentionAttrs local = AttentionAttrs::from(attention_of(g, 0).attrs);
  const AttentionAttrs global = AttentionAttrs::from(attention_of(g, 1).attrs);
  EXPECT_EQ(local.window, 16);
  EXPECT_EQ(local.rope.theta, 1e4);
  EXPECT_EQ(local.rope.scaling.kind, "none");
  EXPECT_EQ(global.window, 0);
  EXPECT_EQ(global.rope.theta, 1e6);
  EXPECT_EQ(global.rope.scaling.factor, 8);
  EXPECT_EQ(global.softcap, 50);
  EXPECT_EQ(g.nodes().back().op, Op::softcap);
  EXPECT_EQ(g.nodes()[0].attrs.get<double>("scale"), 8);
}

TEST(Decoder, GraniteScalesResidualAndLogits) {
  ModelConfig c = small_llama();
  c.residual_scale = 0.25;
  c.logits_scale = 0.5;
  c.attention_scale = 0.015625;
  Graph g = build(c);
  run_passes(g, default_passes());
  EXPECT_EQ(AttentionAttrs::from(attention_of(g, 0).attrs).scale, 0.015625);
  EXPECT_THAT(ops(g), testing::Contains("add_rms_norm").Times(4));
  EXPECT_THAT(to_text(g), HasSubstr("chain[code=mul x0 0.25; out f32 t0]"));
}

TEST(Decoder, SmolLM3LayersWithoutRope) {
  ModelConfig c = small_llama();
  c.no_rope_layers = {false, true};
  c.rotary_pct = 0.5;
  Graph g = build(c);
  run_passes(g, default_passes());
  EXPECT_EQ(AttentionAttrs::from(attention_of(g, 0).attrs).rope.rotary_dim, 8);
  EXPECT_FALSE(AttentionAttrs::from(attention_of(g, 1).attrs).has_rope);
}

TEST(Decoder, BfloatActivationsAddUpInFloatAndEndInFloatLogits) {
  ModelConfig c = small_llama();
  c.tie_word_embeddings = false;
  Graph g = build(c, true, DType::bf16, DType::bf16);
  run_passes(g, default_passes());
  EXPECT_EQ(str(g.value(g.outputs()[0].second).type), "f32[sequences, 320]");
  EXPECT_EQ(str(g.value(g.nodes()[0].outputs[0]).type), "f32[tokens, 64]");
  int sums = 0;
  for (const Node& n : g.nodes()) {
    if (n.op == Op::linear) {
      EXPECT_EQ(g.value(n.inputs[0]).type.dtype, DType::bf16) << n.name;
    }
    if (n.op != Op::add_rms_norm) continue;
    ++sums;
    EXPECT_EQ(g.value(n.inputs[0]).type.dtype, DType::bf16) << n.name;
    EXPECT_EQ(g.value(n.outputs[0]).type.dtype, DType::bf16) << n.name;
    EXPECT_EQ(g.value(n.outputs[1]).type.dtype, DType::f32) << n.name;
  }
  EXPECT_EQ(sums, 4);  // two a layer
}

TEST(Decoder, DebugOutputsSurviveThePasses) {
  Graph g = build(small_llama(), false);
  const auto names = mark_debug(g, "transformer.layers.1.attention.?.out");
  EXPECT_THAT(names, ElementsAre("transformer.layers.1.attention.q.out",
                                 "transformer.layers.1.attention.k.out",
                                 "transformer.layers.1.attention.v.out"));
  run_passes(g, default_passes());
  ASSERT_EQ(g.outputs().size(), 5u);
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(g.value(g.outputs()[i + 2].second).name, names[i]);
  EXPECT_THROW(mark_debug(g, "nothing.*"), Error);
}

std::string error_of(const ModelConfig& c, const test::FakeWeights& w) {
  return test::error_of([&] { build_decoder(c, w.lookup()); });
}

TEST(Decoder, MissingAndMisshapenWeightsAreNamed) {
  const ModelConfig c = small_llama();
  test::FakeWeights w = test::decoder_weights(c, true, DType::f32);
  const std::string fc = "transformer.layers.1.mlp.fc.weight";
  w.tensors[fc].shape = {96, 60};
  EXPECT_EQ(error_of(c, w), "weight '" + fc + "' has shape [96, 60]; expected [96, 64]");
  w.tensors.erase(fc);
  EXPECT_EQ(error_of(c, w), "weight '" + fc + "' of shape [96, 64] is missing");
  ModelConfig split = c;
  split.mapping.tp_size = 2;
  EXPECT_THAT(error_of(split, w), HasSubstr("tp_size 2"));
}

}  // namespace
}  // namespace tokamak
