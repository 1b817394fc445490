// What shape inference says when operands do not fit: op, operand, found, expected.
#include <gmock/gmock.h>

#include <limits>
#include <nlohmann/json.hpp>

#include "base/error_of.h"
#include "ops/attention.h"
#include "ops/linear.h"
#include "ops/op.h"

namespace tokamak {
namespace {

using ::testing::HasSubstr;

ValueType act(int64_t n, DType t = DType::f32) { return {t, {Symbol::tokens, n}}; }
ValueType weight(SymShape shape, DType t = DType::f32) { return {t, shape, true}; }
const ValueType kPositions{DType::i32, {Symbol::tokens}};

std::string message(Op op, const Attrs& attrs, const std::vector<ValueType>& inputs) {
  return test::error_of([&] { infer(op, attrs, inputs); });
}

Attrs kind(const char* k) { return Attrs().set("kind", k); }

TEST(Infer, MessagesNameOpOperandFoundAndExpected) {
  const Attrs none;
  const struct {
    Op op;
    Attrs attrs;
    std::vector<ValueType> inputs;
    const char* expected;
  } cases[] = {
      {Op::linear,
       none,
       {act(576), weight({960, 512})},
       "linear: operand 1 (weight) is f32{960, 512}; expected a weight {n, 576}"},
      {Op::linear, none, {act(576), act(576)}, "expected a weight, not an activation"},
      {Op::linear,
       none,
       {act(100), weight({8, 100}, DType::q4_0)},
       "expected rows that divide into blocks of 32"},
      {Op::linear,
       LinearAttrs{.has_bias = true}.to_attrs(),
       {act(8), weight({4, 8})},
       "linear: found 2 operands; expected 3"},
      {Op::linear,
       LinearAttrs{.has_residual = true}.to_attrs(),
       {act(8), weight({4, 8}), act(8)},
       "operand 2 (residual) is f32[tokens, 8]; expected f32[tokens, 4]"},
      {Op::linear_glu,
       none,
       {act(8), weight({4, 8}), weight({6, 8})},
       "expected as many rows as weight_a (4)"},
      {Op::binary,
       kind("add"),
       {act(8), act(6)},
       "binary add: shapes [tokens, 8] and [tokens, 6] do not broadcast"},
      {Op::binary, kind("add"), {act(8), act(8, DType::bf16)}, "cast one"},
      {Op::binary, kind("plus"), {act(8), act(8)}, "binary: unknown kind 'plus'; known: add, sub"},
      {Op::unary,
       kind("tanh"),
       {kPositions},
       "unary: operand 0 (x) is i32[tokens]; expected elements of f32, f16 or bf16"},
      {Op::unary, none, {act(8)}, "missing op attribute 'kind'"},
      {Op::slice,
       Attrs().set("begin", 4).set("end", 20),
       {act(16)},
       "slice: columns 4 to 20 of f32[tokens, 16]; expected 0 <= begin < end <= 16"},
      {Op::reshape,
       Attrs().set("shape", std::vector<int64_t>{0, 3, -1}),
       {act(16)},
       "16 elements do not divide by 3"},
      {Op::reshape,
       Attrs().set("shape", std::vector<int64_t>{4, 4}),
       {act(16)},
       "the symbolic leading dimension must stay"},
      {Op::rms_norm,
       Attrs().set("eps", 1e-5),
       {act(16), weight({8})},
       "rms_norm: operand 1 (weight) is f32{8}; expected a vector of 16 floats"},
      {Op::add_rms_norm,
       Attrs().set("eps", 1e-5),
       {act(16), act(8), weight({16})},
       "add_rms_norm: operand 1 (residual) is f32[tokens, 8]; expected f32[tokens, 16]"},
      {Op::rms_norm, none, {act(16), weight({16})}, "missing op attribute 'eps'"},
      {Op::gather_rows,
       none,
       {{DType::f32, {Symbol::sequences, 8}}},
       "expected a leading dimension 'tokens'"},
      {Op::embedding, none, {act(1), weight({8, 8})}, "embedding: operand 0 (ids)"},
      {Op::softcap, Attrs().set("cap", -1.0), {act(8)}, "cap must be positive, found -1"},
      {Op::attention,
       AttentionAttrs{.heads = 4, .kv_heads = 3, .head_dim = 8, .scale = 1}.to_attrs(),
       {act(32), act(24), act(24), kPositions},
       "heads 4, kv_heads 3"},
      {Op::attention,
       AttentionAttrs{.heads = 4, .kv_heads = 2, .head_dim = 8, .scale = 1}.to_attrs(),
       {act(32), act(32), act(16), kPositions},
       "attention: operand 1 (k) is f32[tokens, 32]; expected f32[tokens, 16]"},
  };
  for (const auto& c : cases)
    EXPECT_THAT(message(c.op, c.attrs, c.inputs), HasSubstr(c.expected)) << c.expected;
}

TEST(Infer, ReshapeKeepsTheSymbol) {
  const auto shape = [](std::vector<int64_t> s, ValueType x) {
    return str(infer(Op::reshape, Attrs().set("shape", s), {x}).at(0).shape);
  };
  EXPECT_EQ(shape({0, 4, 4}, act(16)), "[tokens, 4, 4]");
  EXPECT_EQ(shape({-1, 4, 4}, act(16)), "[tokens, 4, 4]");
  EXPECT_EQ(shape({0, -1, 8}, act(16)), "[tokens, 2, 8]");
  EXPECT_EQ(shape({0, -1}, {DType::f32, {Symbol::tokens, 2, 8}}), "[tokens, 16]");
  EXPECT_EQ(shape({4, -1}, {DType::f32, {2, 8}}), "[4, 4]");
}

TEST(Infer, BroadcastAndDtypes) {
  const auto type = [](ValueType a, ValueType b) {
    return str(infer(Op::binary, Attrs().set("kind", "mul"), {a, b}).at(0));
  };
  EXPECT_EQ(type(act(8), weight({8}, DType::bf16)), "f32[tokens, 8]");
  EXPECT_EQ(type(act(1), act(8)), "f32[tokens, 8]");
  EXPECT_EQ(type({DType::f32, {}}, act(8, DType::bf16)), "bf16[tokens, 8]");
  EXPECT_EQ(type(weight({8}, DType::f16), {DType::f32, {}}), "f16[8]");
}

TEST(Cost, LinearAndAttention) {
  const OpSignature linear{Op::linear, {}, {act(576), weight({960, 576}, DType::q4_1)}, {act(960)}};
  const OpCost c = cost(linear, 1, 1, 0);
  EXPECT_DOUBLE_EQ(c.flops, 2.0 * 576 * 960);
  EXPECT_DOUBLE_EQ(c.bytes, 576 * 960 * 20 / 32 + 4 * (576 + 960));
  const AttentionAttrs a{.heads = 9, .kv_heads = 3, .head_dim = 64, .scale = 1};
  const OpSignature attention{
      Op::attention, a.to_attrs(), {act(576), act(192), act(192), kPositions}, {act(576)}};
  EXPECT_DOUBLE_EQ(cost(attention, 1, 1, 1000).flops, 4.0 * 576 * 1000);
}

TEST(Attrs, KeyAndJsonRoundTrip) {
  Attrs a;
  a.set("flag", true).set("n", 3).set("eps", 1e-5).set("two", 2.0).set("text", "silu");
  a.set("list", std::vector<int64_t>{1, 2}).set("reals", std::vector<double>{1, 2.5});
  a.set("limit", -std::numeric_limits<double>::infinity());
  EXPECT_EQ(a.key(),
            "eps=1e-05,flag=true,limit=-inf,list=[1 2],n=3,reals=[1.0 2.5],text=silu,two=2.0");
  EXPECT_EQ(Attrs::from_json(a.to_json()), a);
}

TEST(Names, EveryOpAndActivationParsesBack) {
  for (int i = 0; i < kOpCount; ++i)
    EXPECT_EQ(parse_op(name(static_cast<Op>(i))), static_cast<Op>(i));
  EXPECT_THROW(parse_op("matmul"), Error);
  EXPECT_EQ(parse_activation("gelu_pytorch_tanh"), Activation::gelu_tanh);
  EXPECT_EQ(parse_activation("swish"), Activation::silu);
  EXPECT_THROW(parse_activation("swoosh"), Error);
}

}  // namespace
}  // namespace tokamak
