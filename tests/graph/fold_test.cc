// Folding of constants, casts and views; common subexpressions; dead code.
#include "graph/net.h"

namespace tokamak {
namespace {

using nn::Tensor;
using test::Net;
using ::testing::ElementsAre;

TEST(FoldConstants, ArithmeticAndNeutralElements) {
  Net net;
  const Tensor x = net.input("x", 16);
  const Tensor two = nn::constant(net.builder(), 4) / nn::constant(net.builder(), 2);
  const Tensor root = sqrt(two * two);  // before tanh: the nodes' order is what is compared
  net.output(tanh((x + 0.0) * 1.0 / 1.0) * root, "y");
  net.apply(fold_constants);
  EXPECT_THAT(net.ops(), ElementsAre("constant", "unary", "binary"));
  EXPECT_EQ(net.graph().nodes()[0].attrs.get<double>("value"), 2);
}

TEST(FoldConstants, TypesThatChangeStay) {
  Net net;
  net.output(net.weight("w", {16}) * 1.0, "y");  // an output is not a weight
  net.output(0.0 - net.input("x", 16), "negated");
  EXPECT_EQ(net.apply(fold_constants), 0);
}

TEST(FoldCasts, WideningAndBackVanishes) {
  Net net;
  const Tensor x = net.input("x", 16, DType::bf16);
  net.output(tanh(cast(cast(x, DType::f32), DType::bf16)), "y");
  net.apply(fold_casts);
  EXPECT_THAT(net.ops(), ElementsAre("unary"));
}

TEST(FoldCasts, NarrowingStays) {
  Net net;
  const Tensor x = net.input("x", 16);
  net.output(cast(cast(x, DType::bf16), DType::f32), "y");
  EXPECT_EQ(net.apply(fold_casts), 0);
}

TEST(FoldViews, SlicesReshapesConcats) {
  Net net;
  const Tensor x = net.input("x", 16);
  net.output(tanh(slice(slice(x, 4, 16), 2, 6)), "sliced");
  net.output(exp(reshape(reshape(x, {0, 4, 4}), {0, 16})), "reshaped");
  net.output(sqrt(exp(nn::concat({slice(x, 0, 8), slice(x, 8, 12)}))), "joined");
  net.output(-slice(x, 0, 16), "whole");
  net.apply(test::all_passes);
  EXPECT_THAT(net.ops(), ElementsAre("slice", "unary", "unary", "slice", "unary", "unary", "unary"))
      << to_text(net.graph());
  EXPECT_EQ(net.graph().nodes()[0].attrs.key(), "begin=6,end=10");
}

TEST(FoldViews, GapsAndOrderStay) {
  Net net;
  const Tensor x = net.input("x", 16);
  net.output(nn::concat({slice(x, 0, 4), slice(x, 8, 12)}), "gap");
  net.output(nn::concat({slice(x, 8, 16), slice(x, 0, 8)}), "swapped");
  EXPECT_EQ(net.apply(fold_views), 0);
}

TEST(CommonSubexpressions, EqualOnesMergeWhateverTheOrder) {
  Net net;
  const Tensor x = net.input("x", 16), z = net.input("z", 16);
  net.output(tanh(x * z) + exp(z * x), "y");
  EXPECT_EQ(net.apply(common_subexpressions), 1);
  EXPECT_THAT(net.ops(), ElementsAre("binary", "unary", "unary", "binary"));
}

TEST(CommonSubexpressions, UnequalOnesStay) {
  Net net;
  const Tensor x = net.input("x", 16), z = net.input("z", 16);
  net.output((x - z) * (z - x) + slice(x, 0, 16) * (x / z), "y");
  EXPECT_EQ(net.apply(common_subexpressions), 0);
}

TEST(CommonSubexpressions, AttentionIsNeverMerged) {
  Net net;
  const Tensor x = net.input("x", 16), p = net.positions();
  const AttentionAttrs attrs{.heads = 2, .kv_heads = 2, .head_dim = 8, .scale = 1};
  net.output(attention(x, x, x, p, attrs) + attention(x, x, x, p, attrs), "y");
  EXPECT_EQ(net.apply(common_subexpressions), 0);
}

TEST(DeadCode, OnlyWhatLeadsToAnOutputStays) {
  Net net;
  const Tensor x = net.input("x", 16);
  exp(tanh(x));
  net.output(sqrt(exp(x)), "y");
  EXPECT_EQ(net.apply(dead_code), 2);
  EXPECT_THAT(net.ops(), ElementsAre("unary", "unary"));
}

}  // namespace
}  // namespace tokamak
