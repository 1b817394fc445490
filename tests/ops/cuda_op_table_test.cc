// Every tactic of the CUDA backend against the same table, where there is a device.
#include <gtest/gtest.h>

#include <cstdlib>
#include <set>

#include "backend/cuda_plugin.h"
#include "trial.h"

namespace tokamak::test {
namespace {

// Null, with the reason, where this machine has none.
Backend* cuda(std::string* reason = nullptr) {
  static std::string why;
  static const std::unique_ptr<Backend> backend = []() -> std::unique_ptr<Backend> {
    try {
      return load_cuda_backend();
    } catch (const Error& e) {
      why = e.what();
      return nullptr;
    }
  }();
  if (reason) *reason = why;
  return backend.get();
}

class CudaOpTable : public testing::TestWithParam<OpRow> {};

TEST_P(CudaOpTable, EveryTacticMatchesTheReference) {
  std::string why;
  if (!cuda(&why)) {
    ASSERT_EQ(std::getenv("TOKAMAK_NEED_CUDA"), nullptr) << why;
    GTEST_SKIP() << why;
  }
  check_row(GetParam(), [](Trial& trial, const OpSignature& s, Fill, std::set<std::string>& failed,
                           std::set<std::string>& ran) {
    for (const Tactic* t : cuda()->tactics(s.op)) {
      if (!t->supports(s) || failed.count(std::string(t->name()))) continue;
      ran.insert(std::string(t->name()));
      for (const bool strided : {false, true})
        if (!trial.check(*cuda(), *t, strided)) failed.insert(std::string(t->name()));
    }
  });
}

TEST(CudaLayouts, Fp8UnpacksWhatItPacked) {
  std::string why;
  if (!cuda(&why)) {
    ASSERT_EQ(std::getenv("TOKAMAK_NEED_CUDA"), nullptr) << why;
    GTEST_SKIP() << why;
  }
  const WeightLayout* layout = cuda()->layout("cuda.f8");
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
