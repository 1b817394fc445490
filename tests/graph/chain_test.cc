// The last pass: which elementwise ops join, which must not, and the program that comes out.
#include "ops/chain.h"

#include "base/error_of.h"
#include "graph/debug.h"
#include "graph/net.h"

namespace tokamak {
namespace {

using nn::Tensor;
using test::error_of;
using test::Net;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string code(const Node& n) { return n.attrs.get<std::string>("code"); }

TEST(JoinChains, OpsThatFeedEachOtherBecomeOne) {
  Net net;
  const Tensor x = net.input("x", 16), z = net.input("z", 16);
  net.output(tanh(x * 0.5) * z + exp(z), "y");
  EXPECT_GT(net.apply(join_chains), 0);
  EXPECT_THAT(net.ops(), ElementsAre("chain"));
  EXPECT_EQ(code(net.last()), "mul x0 0.5; tanh t0; mul t1 x1; exp x1; add t2 t3; out f32 t4");
}

TEST(JoinChains, EqualMathGivesEqualPrograms) {
  std::vector<std::string> codes;
  for (const bool reversed : {false, true}) {
    Net net;
    const Tensor x = net.input("x", 16), z = net.input("z", 16);
    const Tensor a = reversed ? tanh(z) : exp(x), b = reversed ? exp(x) : tanh(z);
    net.output(reversed ? b - a : a - b, "y");
    net.apply(join_chains);
    codes.push_back(code(net.last()));
  }
  EXPECT_EQ(codes[0], codes[1]);
}

TEST(JoinChains, ValuesReadTwiceAreMadeOnce) {
  Net net;
  const Tensor x = net.input("x", 16), a = exp(x);
  net.output((a + 1.0) / (a + 2.0), "y");
  net.apply(join_chains);
  EXPECT_EQ(code(net.last()), "exp x0; add t0 1; add t0 2; div t1 t2; out f32 t3");
}

TEST(JoinChains, RowsAndColumnsStretch) {
  Net net;
  const Tensor x = net.input("x", 16);
  const Tensor scale = rsqrt(mean(x) + 2.0);  // [tokens, 1]: joined, for it is made once a row
  net.output(x * scale * (1.0 + net.weight("w", {16})), "y");
  net.apply(join_chains);
  EXPECT_THAT(net.ops(), ElementsAre("reduce", "chain"));
  EXPECT_EQ(code(net.last()), "add x1 2; rsqrt t0; mul x0 t1; add x2 1; mul t2 t3; out f32 t4");
}

TEST(JoinChains, ExpensiveVectorsAreNotRepeatedForEveryRow) {
  Net net;
  const Tensor x = net.input("x", 16);
  net.output(x * exp(unary("neg", net.weight("w", {16}))), "y");
  net.apply(join_chains);
  EXPECT_THAT(net.ops(), ElementsAre("chain", "binary"));
}

TEST(JoinChains, ReductionsAndLinearsPart) {
  Net net;
  const Tensor x = net.input("x", 16);
  const Tensor a = exp(x * 2.0);
  const Tensor b = net.linear(a / sum(a), "l", 16);
  net.output(tanh(b - 1.0), "y");
  net.apply(join_chains);
  EXPECT_THAT(net.ops(), ElementsAre("chain", "reduce", "binary", "linear", "chain"));
}

TEST(JoinChains, ValuesReadElsewhereStayAsOutputs) {
  Net net;
  const Tensor x = net.input("x", 16);
  const Tensor a = tanh(x + 1.0);
  net.output(net.linear(a, "l", 16), "l");
  net.output(a * x, "y");
  net.apply(join_chains);
  EXPECT_THAT(net.ops(), ElementsAre("chain", "linear"));
  EXPECT_EQ(code(net.graph().nodes()[0]), "add x0 1; tanh t0; mul t1 x0; out f32 t1; out f32 t2");
}

TEST(JoinChains, WhatMustStandBetweenPartsThem) {
  Net net;
  const Tensor x = net.input("x", 16);
  const Tensor a = tanh(x + 1.0);
  net.output(a * net.linear(a, "l", 16), "y");  // needs the linear, which needs a
  net.apply(join_chains);
  EXPECT_THAT(net.ops(), ElementsAre("chain", "linear", "binary"));
}

TEST(JoinChains, MarkedValuesKeepTheirNamesAndNumbers) {
  Net net;
  const Tensor x = net.input("x", 16);
  net.output(exp(tanh(x * 3.0)), "y");
  const auto marked = mark_debug(net.graph(), "tanh*");
  ASSERT_THAT(marked, ElementsAre("tanh.out"));
  net.apply(join_chains);
  EXPECT_THAT(net.ops(), ElementsAre("chain"));
  const Graph& g = net.graph();
  ASSERT_EQ(g.outputs().size(), 2u);
  EXPECT_EQ(g.value(g.outputs()[1].second).name, "tanh.out");
  EXPECT_EQ(code(net.last()), "mul x0 3; tanh t0; exp t1; out f32 t1; out f32 t2");
}

TEST(JoinChains, SiblingsReadTheirRowsOnce) {
  Net net;
  const Tensor a = net.input("a", 16), b = net.input("b", 16);
  const Tensor c = net.weight("c", {16}), s = net.weight("s", {16});
  net.output(nn::concat({a * c - b * s, b * c + a * s}), "turned");
  net.apply(join_chains);
  EXPECT_THAT(net.ops(), ElementsAre("chain", "concat"));
}

TEST(JoinChains, CastsRoundInsideAndNotTwiceAtTheEnd) {
  Net net;
  const Tensor x = net.input("x", 16);
  const Tensor rounded = cast(x * 3.0, DType::bf16);
  net.output(cast(rounded, DType::f32) + 1.0, "y");
  net.output(cast(exp(x), DType::f16), "h");
  net.apply(join_chains);
  EXPECT_THAT(net.ops(), ElementsAre("chain"));
  EXPECT_EQ(code(net.last()), "mul x0 3; round_bf16 t0; add t1 1; exp x0; out f32 t2; out f16 t3");
}

TEST(JoinChains, OneOpAloneStaysItself) {
  Net net;
  const Tensor x = net.input("x", 16), z = net.input("z", 16);
  net.output(x + z, "y");
  EXPECT_EQ(net.apply(join_chains), 0);
  EXPECT_THAT(net.ops(), ElementsAre("binary"));
}

TEST(JoinChains, LargeOnesAreCut) {
  Net net;
  Tensor t = net.input("x", 16);
  for (int i = 0; i < 150; ++i) t = tanh(t) * 1.5;
  net.output(t, "y");
  net.apply(join_chains, 1e-9);
  EXPECT_THAT(net.ops(), testing::AllOf(testing::Each("chain"), testing::SizeIs(testing::Le(10))));
}

TEST(JoinChains, RunsAfterEverythingElse) {
  Net net;
  const Tensor x = net.input("x", 16);
  const Tensor norm = x * rsqrt(mean(pow(x, 2)) + 1e-6) * net.weight("w", {16});
  net.output(tanh(norm) * 2.0 + x, "y");
  net.apply([](Graph& g) {
    run_passes(g, default_passes());
    return 0;
  });
  EXPECT_THAT(net.ops(), ElementsAre("rms_norm", "chain"));
}

TEST(Chain, TextReadsBack) {
  const std::string text = "pow x0 -0.25; softless";  // a name that is none
  EXPECT_THAT(error_of([&] { Chain::parse(text); }), HasSubstr("'softless' is no step"));
  for (const char* good : {"neg x0; out f32 t0", "max x1 x0; pow t0 -1.5e-07; out bf16 t1",
                           "mul x0 inf; out f16 t0; out f32 t0"})
    EXPECT_EQ(Chain::parse(good).text(), good);
  for (const char* bad :
       {"", "out f32 t0", "neg x0", "neg x0; out f32 x0", "neg t0; out f32 t0", "neg x0 x1",
        "add x0; out f32 t0", "neg x9; out f32 t0", "neg x1; out f32 t0", "neg 1; out f32 t0",
        "neg x0; out i32 t0", "neg x0; out f32 t0; neg x0", "neg  x0; out f32 t0"})
    EXPECT_NE(error_of([&] { Chain::parse(bad); }), "") << bad;
}

}  // namespace
}  // namespace tokamak
