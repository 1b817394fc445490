// Fusions: what fuses, what must not, and that results stay the same.
#include "graph/net.h"
#include "ops/attention.h"

namespace tokamak {
namespace {

using nn::Tensor;
using test::Net;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::Not;

TEST(JoinLinears, QkvBecomesOneWithSlices) {
  Net net;
  const Tensor x = net.input("x", 16);
  net.output(tanh(net.linear(x, "a.q", 8)), "q");
  net.output(tanh(net.linear(x, "a.k", 4)), "k");
  net.output(tanh(net.linear(x, "a.v", 4)), "v");
  EXPECT_EQ(net.apply(join_linears), 1);
  EXPECT_THAT(net.ops(),
              ElementsAre("linear", "slice", "slice", "slice", "unary", "unary", "unary"));
  const Node& joined = net.graph().nodes()[0];
  EXPECT_EQ(joined.name, "a.q+k+v");
  EXPECT_THAT(net.graph().value(joined.inputs[1]).weight_names,
              ElementsAre("a.q.weight", "a.k.weight", "a.v.weight"));
  // The parts keep their names.
  EXPECT_EQ(net.graph().value(net.graph().nodes()[2].outputs[0]).name, "a.k.out");
}

TEST(JoinLinears, BiasesJoinToo) {
  Net net;
  const Tensor x = net.input("x", 16);
  for (const char* part : {"q", "k"})
    net.output(tanh(net.linear(x, part, 8) + net.weight(std::string(part) + ".bias", {8})), part);
  net.apply(test::all_passes);
  EXPECT_THAT(net.ops(), ElementsAre("linear", "slice", "slice", "unary", "unary"));
  EXPECT_THAT(net.graph().value(net.graph().nodes()[0].inputs[2]).weight_names,
              ElementsAre("q.bias", "k.bias"));
}

TEST(JoinLinears, OnlyEqualFormatsJoin) {
  Net net;
  const Tensor x = net.input("x", 64);
  net.output(tanh(net.linear(x, "q", 8, DType::q4_0)), "q");
  net.output(tanh(net.linear(x, "k", 8, DType::q4_0)), "k");
  net.output(tanh(net.linear(x, "v", 8, DType::q8_0)), "v");
  EXPECT_EQ(net.apply(join_linears), 1);
  EXPECT_THAT(net.ops(), Contains("linear").Times(2));
}

TEST(JoinLinears, OutputsAndSharedWeightsStay) {
  Net net;
  const Tensor x = net.input("x", 16), z = net.input("z", 16);
  net.output(net.linear(x, "q", 8), "q");  // asked for as it is
  net.output(tanh(net.linear(x, "k", 8)), "k");
  net.output(exp(net.linear(z, "k", 8)), "other");  // the same weight elsewhere
  net.output(tanh(net.linear(x, "v", 8)), "v");
  EXPECT_EQ(net.apply(join_linears), 0);
}

TEST(FuseGlu, TwoLinearsBecomeLinearGlu) {
  for (bool swapped : {false, true}) {
    Net net;
    const Tensor x = net.input("x", 16);
    const Tensor a = unary("silu", net.linear(x, "fc", 24)), b = net.linear(x, "gate", 24);
    net.output(swapped ? b * a : a * b, "y");
    EXPECT_EQ(net.apply(fuse_glu), 1);
    ASSERT_THAT(net.ops(), ElementsAre("linear_glu"));
    EXPECT_EQ(net.graph().value(net.last().inputs[1]).name, "fc.weight");
    EXPECT_EQ(net.last().attrs.get<std::string>("activation"), "silu");
  }
}

TEST(FuseGlu, BiasesComeAlong) {
  Net net;
  const Tensor x = net.input("x", 16);
  const Tensor a = net.linear(x, "fc", 24) + net.weight("fc.bias", {24});
  const Tensor b = net.linear(x, "gate", 24) + net.weight("gate.bias", {24});
  net.output(unary("gelu_tanh", a) * b, "y");
  net.apply(test::all_passes);
  ASSERT_THAT(net.ops(), ElementsAre("linear_glu")) << to_text(net.graph());
  EXPECT_TRUE(net.last().attrs.get<bool>("has_bias"));
}

TEST(FuseGlu, SlicesOfAJoinedLinearBecomeGlu) {
  Net net;
  const Tensor both = net.linear(net.input("x", 16), "gate_up", 48);
  net.output(unary("silu", slice(both, 0, 24)) * slice(both, 24, 48), "y");
  net.apply(test::all_passes);
  EXPECT_THAT(net.ops(), ElementsAre("linear", "slice", "slice", "glu"));
}

TEST(FuseGlu, DifferentInputsOrReadersStayApart) {
  Net net;
  const Tensor x = net.input("x", 16), z = net.input("z", 16);
  net.output(unary("silu", net.linear(x, "fc", 24)) * net.linear(z, "gate", 24), "y");
  const Tensor seen = unary("silu", net.linear(x, "fc2", 24));
  net.output(seen * net.linear(x, "gate2", 24), "y2");
  net.output(seen, "seen");
  net.apply(test::all_passes);
  EXPECT_THAT(net.ops(), Not(Contains("linear_glu")));
  EXPECT_THAT(net.ops(), Contains("glu").Times(1));
}

TEST(FuseAddNorm, NormTakesTheResidualAndTheSumSurvives) {
  Net net;
  const Tensor x = net.input("x", 16);
  const Tensor sum = x + net.linear(x, "dense", 16);
  net.output(net.rms_norm(sum, "w"), "normed");
  net.output(sum, "sum");
  net.apply(test::all_passes);
  EXPECT_THAT(net.ops(), ElementsAre("linear", "add_rms_norm"));
}

TEST(FuseAddNorm, AWideSumTakesItsCasts) {
  Net net;
  const Tensor x = net.input("x", 16), h = cast(net.input("h", 16), DType::bf16);
  const Tensor sum = x + cast(h, DType::f32);
  net.output(cast(net.rms_norm(sum, "w"), DType::bf16), "normed");
  net.output(sum, "sum");
  net.apply(test::all_passes);
  EXPECT_THAT(net.ops(), ElementsAre("cast", "add_rms_norm")) << to_text(net.graph());
  // A norm that is wanted as wide as the sum keeps it so.
  Net wide;
  const Tensor y = wide.input("y", 16), g = cast(wide.input("g", 16), DType::bf16);
  wide.output(wide.rms_norm(y + cast(g, DType::f32), "w"), "normed");
  wide.apply(test::all_passes);
  EXPECT_EQ(wide.graph().value(wide.last().outputs[0]).type.dtype, DType::f32);
}

TEST(FuseAddNorm, LayerNormWithBias) {
  Net net;
  const Tensor x = net.input("x", 16), z = net.input("z", 16);
  const Tensor sum = x + z, d = sum - mean(sum);
  net.output(d / sqrt(mean(d * d) + 1e-5) * net.weight("w", {16}) + net.weight("b", {16}), "y");
  net.apply(test::all_passes);
  EXPECT_THAT(net.ops(), ElementsAre("add_layer_norm")) << to_text(net.graph());
  EXPECT_EQ(net.last().inputs.size(), 4u);
}

TEST(FuseAddNorm, BroadcastAddStays) {
  Net net;
  const Tensor x = net.input("x", 16);
  net.output(net.rms_norm(x + net.weight("b", {16}), "w"), "y");
  EXPECT_EQ(net.apply(fuse_add_norm), 0);
}

TEST(FuseLinearEpilogue, BiasActivationResidual) {
  Net net;
  const Tensor x = net.input("x", 16);
  const Tensor h = net.weight("b", {16}) + net.linear(x, "l", 16);
  net.output(x + unary("gelu", h), "y");
  EXPECT_EQ(net.apply(fuse_bias), 1);
  EXPECT_EQ(net.apply(fuse_linear_epilogue), 2);
  ASSERT_THAT(net.ops(), ElementsAre("linear"));
  const LinearAttrs attrs = LinearAttrs::from(net.last().attrs);
  EXPECT_EQ(attrs.activation, Activation::gelu);
  EXPECT_TRUE(attrs.has_bias && attrs.has_residual);
}

TEST(FuseLinearEpilogue, CastToFloat32AndItsSum) {
  Net net;
  const Tensor x = net.input("x", 16, DType::bf16), sum = net.input("sum", 16);
  net.output(sum + cast(net.linear(x, "l", 16, DType::bf16), DType::f32), "y");
  EXPECT_EQ(net.apply(fuse_linear_epilogue, 1e-2), 2);
  ASSERT_THAT(net.ops(), ElementsAre("linear"));
  const LinearAttrs attrs = LinearAttrs::from(net.last().attrs);
  EXPECT_TRUE(attrs.float32 && attrs.has_residual);
}

TEST(FuseLinearEpilogue, ActivationAfterResidualStays) {
  Net net;
  const Tensor x = net.input("x", 16);
  net.output(tanh(x + net.linear(x, "l", 16)), "y");
  net.apply(test::all_passes);
  EXPECT_THAT(net.ops(), ElementsAre("linear", "unary"));
}

TEST(FuseLinearEpilogue, BiasAfterActivationStays) {
  Net net;
  const Tensor x = net.input("x", 16);
  net.output(tanh(net.linear(x, "l", 16)) + net.weight("b", {16}), "y");
  net.apply(test::all_passes);
  EXPECT_THAT(net.ops(), ElementsAre("linear", "binary"));
}

TEST(FuseLinearEpilogue, DebugOutputStays) {
  Net net;
  const Tensor x = net.input("x", 16), l = net.linear(x, "l", 16);
  net.output(l, "l");
  net.output(tanh(l), "y");
  EXPECT_EQ(net.apply(test::all_passes), 0);
}

struct AttentionNet {
  Net net;
  AttentionAttrs attrs{.heads = 4, .kv_heads = 2, .head_dim = 8, .scale = 0.35};
  RopeAttrs rope{.head_dim = 8, .rotary_dim = 8};
  Tensor x = net.input("x", 16), positions = net.positions();
  Tensor q = net.linear(x, "q", 32), k = net.linear(x, "k", 16), v = net.linear(x, "v", 16);

  Tensor heads_norm(Tensor t, const char* weight) {
    return reshape(net.rms_norm(reshape(t, {0, -1, 8}), weight), {0, -1});
  }
};

TEST(FuseAttention, RopeAndHeadNormsMoveIn) {
  AttentionNet a;
  const Tensor q = nn::rope(a.heads_norm(a.q, "qw"), a.positions, a.rope);
  const Tensor k = nn::rope(a.heads_norm(a.k, "kw"), a.positions, a.rope);
  a.net.output(attention(q, k, a.v, a.positions, a.attrs), "y");
  EXPECT_EQ(a.net.apply(fuse_attention), 2);
  EXPECT_THAT(a.net.ops(), ElementsAre("linear", "linear", "linear", "attention"));
  const AttentionAttrs fused = AttentionAttrs::from(a.net.last().attrs);
  EXPECT_TRUE(fused.qk_norm && fused.has_rope);
}

TEST(FuseAttention, NormAfterRopeKeepsItsOrder) {
  AttentionNet a;
  const Tensor q = a.heads_norm(nn::rope(a.q, a.positions, a.rope), "qw");
  const Tensor k = a.heads_norm(nn::rope(a.k, a.positions, a.rope), "kw");
  a.net.output(attention(q, k, a.v, a.positions, a.attrs), "y");
  a.net.apply(fuse_attention);
  EXPECT_THAT(a.net.ops(), Contains("rope").Times(2));
}

TEST(FuseAttention, UnequalRopesAndOutputsStay) {
  {
    AttentionNet a;
    RopeAttrs other = a.rope;
    other.theta = 500000;
    a.net.output(attention(nn::rope(a.q, a.positions, a.rope), nn::rope(a.k, a.positions, other),
                           a.v, a.positions, a.attrs),
                 "y");
    EXPECT_EQ(a.net.apply(fuse_attention), 0);
  }
  AttentionNet a;
  const Tensor q = nn::rope(a.q, a.positions, a.rope), k = nn::rope(a.k, a.positions, a.rope);
  a.net.output(attention(q, k, a.v, a.positions, a.attrs), "y");
  a.net.output(q, "turned");
  EXPECT_EQ(a.net.apply(fuse_attention), 0);
}

}  // namespace
}  // namespace tokamak
