#include "models/decoder.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

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
    "embedding", "rms_norm",                                                   //
    "linear", "slice", "slice", "slice", "attention", "linear", "add_rms_norm", "linear_glu",
    "linear", "add_rms_norm",                                                  //
    "linear", "slice", "slice", "slice", "attention", "linear", "add_rms_norm", "linear_glu",
    "linear", "add_rms_norm",                                                  //
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

}  // namespace
}  // namespace tokamak
