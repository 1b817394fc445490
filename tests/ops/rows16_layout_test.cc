// The layout of the tuned linear kernels: unpack ∘ pack is the identity for every dtype, also when
// packed in parts, and padding rows are zero.
#include "backend/cpu/linear/rows16_layout.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>

#include "backend/cpu/linear/rows16.h"

namespace tokamak {
namespace {

std::vector<std::byte> random_bytes(size_t n, uint64_t seed) {
  std::mt19937_64 rng(seed);
  std::vector<std::byte> bytes(n);
  for (std::byte& b : bytes) b = static_cast<std::byte>(rng());
  return bytes;
}

int64_t step_of(DType t) {
  return std::max(info(t).block_elems, rows16_is_block(t) ? 32 : 1);  // 0: one scale per row
}

std::vector<DType> known() {
  std::vector<DType> all;
  for (int i = 0; i < kDTypeCount; ++i)
    if (rows16_fits(static_cast<DType>(i), 256)) all.push_back(static_cast<DType>(i));
  return all;
}

class Rows16 : public testing::TestWithParam<DType> {};

TEST_P(Rows16, UnpackIsTheInverseOfPack) {
  constexpr uint64_t kSeed = 20240611;
  SCOPED_TRACE(testing::Message() << name(GetParam()) << " seed " << kSeed);
  const Rows16Layout layout;
  const int64_t block = step_of(GetParam());
  for (const int64_t n : {1, 15, 16, 17, 100})
    for (const int64_t k : {block, 3 * block, block > 1 ? 4 * block : int64_t{65}, 9 * block}) {
      const Shape shape{n, k};
      ASSERT_TRUE(layout.supports(GetParam(), shape));
      const auto bytes = random_bytes(row_bytes(GetParam(), k) * static_cast<size_t>(n), kSeed);
      const TensorView view{GetParam(), shape, bytes.data()};
      std::vector<std::byte> packed(layout.packed_bytes(GetParam(), shape), std::byte{0x5a});
      const int64_t middle = n / 32 * 16;
      layout.pack(view, packed.data(), middle, n);
      layout.pack(view, packed.data(), 0, middle);
      std::vector<std::byte> back(bytes.size());
      layout.unpack(GetParam(), shape, packed.data(), back.data());
      EXPECT_EQ(back, bytes) << shape.str();
    }
}

TEST_P(Rows16, PackedSizeIsWholeCacheLines) {
  const Rows16Layout layout;
  const int64_t k = 3 * step_of(GetParam());
  EXPECT_EQ(layout.packed_bytes(GetParam(), {17, k}), 2 * layout.packed_bytes(GetParam(), {16, k}));
  EXPECT_EQ(layout.packed_bytes(GetParam(), {16, k}) % 64, 0u);
}

INSTANTIATE_TEST_SUITE_P(Types, Rows16, testing::ValuesIn(known()),
                         [](const auto& i) { return std::string(name(i.param)); });

TEST(Rows16Layout, RefusesWhatItCannotHold) {
  const Rows16Layout layout;
  EXPECT_FALSE(layout.supports(DType::q4_0, {16, 31}));
  EXPECT_FALSE(layout.supports(DType::int8_row, {16, 31}));
  EXPECT_FALSE(layout.supports(DType::int4_g128, {16, 64}));
  EXPECT_FALSE(layout.supports(DType::i8, {16, 32}));
  EXPECT_FALSE(layout.supports(DType::f32, {16}));
}

}  // namespace
}  // namespace tokamak
