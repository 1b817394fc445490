// Every weight layout of the CUDA backend, which needs no device to pack: unpack is the exact
// inverse of pack, and nothing outside packed_bytes is written.
#include <gtest/gtest.h>

#include "backend/cuda_plugin.h"
#include "launcher.h"

namespace tokamak::test {
namespace {

constexpr uint64_t kSeed = 20261121;
constexpr std::string_view kLayouts[] = {"plain", "cuda.stream"};

void check_inverse(const WeightLayout& layout, DType dtype, const Shape& shape, Rng& rng) {
  SCOPED_TRACE(fmt::format("{} {} {} seed {}", layout.name(), name(dtype), shape.str(), kSeed));
  const HostTensor t =
      random_tensor({dtype, {Dim(shape[0]), Dim(shape[1])}, true}, 1, 1, Fill::gaussian, rng);
  const size_t bytes = layout.packed_bytes(dtype, shape);
  GuardedBuffer packed(1, bytes, bytes);
  const int64_t step = layout.row_granularity();
  for (int64_t r = 0; r < shape[0]; r += step)
    layout.pack({dtype, shape, t.bytes.data()}, packed.data(), r, std::min(r + step, shape[0]));
  EXPECT_EQ(packed.damage(), "");
  GuardedBuffer back(1, t.bytes.size(), t.bytes.size());
  layout.unpack(dtype, shape, packed.data(), back.data());
  EXPECT_EQ(back.damage(), "");
  ASSERT_EQ(back.dense(), t.bytes);
}

TEST(CudaLayouts, UnpackIsTheExactInverseOfPack) {
  std::unique_ptr<Backend> cuda;
  try {
    CudaOptions options;
    options.offline = true;
    cuda = load_cuda_backend(options);
  } catch (const Error& e) {
    ASSERT_EQ(std::getenv("TOKAMAK_NEED_CUDA"), nullptr) << e.what();
    GTEST_SKIP() << e.what();
  }
  Rng rng(kSeed);
  for (const std::string_view wanted : kLayouts) {
    const WeightLayout* layout = cuda->layout(wanted);
    ASSERT_NE(layout, nullptr) << wanted;
    int tried = 0;
    for (int d = static_cast<int>(DType::q4_0); d < kDTypeCount; ++d) {
      const DType dtype = static_cast<DType>(d);
      const int64_t block = info(dtype).block_elems == 0 ? 46 : info(dtype).block_elems;
      for (const Shape& shape :
           {Shape{1, block}, Shape{33, 3 * block}, Shape{130, 5 * block}, Shape{64, 8 * block}}) {
        if (!layout->supports(dtype, shape)) continue;
        check_inverse(*layout, dtype, shape, rng);
        ++tried;
        if (HasFatalFailure()) return;
      }
    }
    EXPECT_GT(tried, 12) << wanted;
  }
}

}  // namespace
}  // namespace tokamak::test
