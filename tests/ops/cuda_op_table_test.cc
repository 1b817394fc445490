// Every tactic of the CUDA backend against the same table, where there is a device.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "cuda_device.h"
#include "trial.h"

namespace tokamak::test {
namespace {

class CudaOpTable : public CudaTest, public testing::WithParamInterface<OpRow> {};
using CudaAttention = CudaTest;
using CudaFp8Layout = CudaTest;

TEST_P(CudaOpTable, EveryTacticMatchesTheReference) {
  check_row(GetParam(), [](Trial& trial, const OpSignature& s, Fill, std::set<std::string>& failed,
                           std::set<std::string>& ran) {
    const char* only = std::getenv("TOKAMAK_TEST_TACTIC");  // a part of names
    for (const Tactic* t : cuda().tactics(s.op)) {
      if (!t->supports(s) || failed.count(std::string(t->name()))) continue;
      if (only && t->name().find(only) == std::string_view::npos) continue;
      ran.insert(std::string(t->name()));
      for (const bool strided : {false, true})
        if (!trial.check(cuda(), *t, strided)) failed.insert(std::string(t->name()));
    }
  });
}

// Steps of so many sequences that a kernel takes them of which others see nothing.
TEST_F(CudaAttention, ManySequences) {
  constexpr int kUnits = 600;  // KV heads of sequences
  uint64_t seed = 20261122;
  const std::vector<OpRow> table = op_table();
  const OpRow& row = *std::ranges::find(table, Op::attention, &OpRow::op);
  for (const OpSignature& s : row.signatures()) {
    if (s.inputs[0].dtype == DType::f32 || s.attrs.get<int64_t>("head_dim") > 128) continue;
    for (const auto& [dtype, block] :
         {std::pair{DType::f16, 16}, {DType::bf16, 64}, {DType::f8e4m3, 32}}) {
      Rng rng(++seed);
      StepShape shape{"many", {}, {}, false, dtype, block};
      const auto sequences = kUnits / s.attrs.get<int64_t>("kv_heads");
      for (int i = 0; i < sequences; ++i) {  // prompts among them, after the first ones
        shape.past.push_back(static_cast<int>(rng() % 50));
        shape.queries.push_back(i % 16 == 9 ? 1 + static_cast<int>(rng() % 40) : 1);
      }
      shape.past[1] = 620;
      Trial trial(row, s, shape, Fill::gaussian, seed);
      for (const Tactic* t : cuda().tactics(s.op))
        for (const bool strided : {false, true})
          if (t->supports(s)) trial.check(cuda(), *t, strided);
    }
  }
}

TEST_F(CudaFp8Layout, UnpacksWhatItPacked) {
  const WeightLayout* layout = cuda().layout("cuda.f8");
  ASSERT_NE(layout, nullptr);
  EXPECT_FALSE(layout->supports(DType::f8_row, Shape{3, 96}));
  EXPECT_FALSE(layout->supports(DType::int8_row, Shape{3, 64}));
  Rng rng(20261121);
  for (const Shape& shape : {Shape{1, 64}, Shape{33, 192}, Shape{65, 576}}) {
    ASSERT_TRUE(layout->supports(DType::f8_row, shape));
    const HostTensor t = random_tensor({DType::f8_row, {Dim(shape[0]), Dim(shape[1])}, true}, 1, 1,
                                       Fill::gaussian, rng);
    std::vector<std::byte> packed(layout->packed_bytes(DType::f8_row, shape)), back(t.bytes.size());
    for (int64_t r = 0; r < shape[0]; r += 16)
      layout->pack({DType::f8_row, shape, t.bytes.data()}, packed.data(), r,
                   std::min(r + 16, shape[0]));
    layout->unpack(DType::f8_row, shape, packed.data(), back.data());
    EXPECT_EQ(back, t.bytes) << shape.str();
  }
}

INSTANTIATE_TEST_SUITE_P(All, CudaOpTable, testing::ValuesIn(op_table()),
                         [](const auto& i) { return std::string(name(i.param.op)); });

}  // namespace
}  // namespace tokamak::test
