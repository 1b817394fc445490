// Every weight layout of the CPU backend: unpack is the exact inverse of pack, for every dtype and
// odd shapes, packed in pieces, and nothing outside packed_bytes is written.
#include <gtest/gtest.h>

#include <set>

#include "backend/cpu/registry.h"
#include "launcher.h"

namespace tokamak::test {
namespace {

constexpr uint64_t kSeed = 20261121;

std::vector<Shape> shapes_of(DType t) {
  std::vector<Shape> all;
  const int64_t block = info(t).block_elems == 0 ? 32 : info(t).block_elems;
  for (const int64_t n : {1, 3, 16, 17, 33, 65})
    for (const int64_t blocks : {1, 3, 9})
      all.push_back({n, block == 1 ? blocks * 7 : blocks * block});
  all.push_back({48, block == 1 ? 64 : 4 * block});
  if (info(t).block_elems == 0) all.push_back({17, 46});
  return all;
}

void check_inverse(const WeightLayout& layout, DType dtype, const Shape& shape, Rng& rng) {
  SCOPED_TRACE(fmt::format("{} {} {} seed {}", layout.name(), name(dtype), shape.str(), kSeed));
  const HostTensor t =
      random_tensor({dtype, {Dim(shape[0]), Dim(shape[1])}, true}, 1, 1, Fill::gaussian, rng);
  const size_t bytes = layout.packed_bytes(dtype, shape);
  for (const int64_t pieces : {int64_t{1}, int64_t{3}, int64_t{1000}}) {
    GuardedBuffer packed(1, bytes, std::max<size_t>(bytes, 1));
    const TensorView view{dtype, shape, t.bytes.data()};
    const int64_t step = layout.row_granularity() * pieces;
    for (int64_t r = 0; r < shape[0]; r += step)
      layout.pack(view, packed.data(), r, std::min(r + step, shape[0]));
    EXPECT_EQ(packed.damage(), "");
    GuardedBuffer back(1, t.bytes.size(), t.bytes.size());
    layout.unpack(dtype, shape, packed.data(), back.data());
    EXPECT_EQ(back.damage(), "");
    ASSERT_EQ(back.dense(), t.bytes);
  }
}

TEST(Layouts, UnpackIsTheExactInverseOfPack) {
  const CpuRegistry registry = make_cpu_registry({Isa::amx, true, 1});
  Rng rng(kSeed);
  for (const auto& layout : registry.layouts()) {
    int tried = 0;
    for (int d = 0; d < kDTypeCount; ++d) {
      const DType dtype = static_cast<DType>(d);
      if (dtype == DType::f8e4m3 || dtype == DType::f8e5m2) continue;
      for (const Shape& shape : shapes_of(dtype)) {
        if (!layout->supports(dtype, shape)) continue;
        check_inverse(*layout, dtype, shape, rng);
        ++tried;
        if (HasFatalFailure()) return;
      }
    }
    EXPECT_GT(tried, 0) << layout->name();
    std::printf("%s: %d shapes\n", std::string(layout->name()).c_str(), tried);
  }
}

// A tactic may only name layouts that the backend has.
TEST(Layouts, NamesAreUnique) {
  const CpuRegistry registry = make_cpu_registry({Isa::amx, true, 1});
  std::set<std::string_view> layouts, tactics;
  for (const auto& l : registry.layouts())
    EXPECT_TRUE(layouts.insert(l->name()).second) << l->name();
  for (int op = 0; op < kOpCount; ++op)
    for (const Tactic* t : registry.tactics(static_cast<Op>(op)))
      EXPECT_TRUE(tactics.insert(t->name()).second) << t->name();
}

}  // namespace
}  // namespace tokamak::test
