#include "formats/npy.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <random>

#include "base/error.h"
#include "base/mapped_file.h"

namespace tokamak {
namespace {

struct NpyTest : testing::Test {
  std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("npy_test_" + std::to_string(getpid()) + ".npy");
  void TearDown() override { std::filesystem::remove(path); }
};

TEST_F(NpyTest, IntegersSurviveTheRoundTrip) {
  const std::vector<int32_t> values = {1, -2, 3, 2147483647, 5, 6};
  write_npy(path, {2, 3}, values);
  const NpyInts back = read_npy_ints(path);
  EXPECT_EQ(back.shape, (Shape{2, 3}));
  EXPECT_EQ(back.values, std::vector<int64_t>(values.begin(), values.end()));
}

TEST_F(NpyTest, HeaderIsPaddedTo64BytesAsNumpyDoes) {
  write_npy(path, {1}, std::vector<float>{1.5f});
  EXPECT_EQ(std::filesystem::file_size(path) % 64, sizeof(float));
  EXPECT_THROW(read_npy_ints(path), Error);  // floats are no token ids
}

TEST_F(NpyTest, DamagedFilesAreErrorsNeverCrashes) {
  write_npy(path, {2, 3}, std::vector<int32_t>{1, 2, 3, 4, 5, 6});
  const MappedFile file(path);
  const std::vector<std::byte> good(file.bytes().begin(), file.bytes().end());
  std::mt19937 random(7);
  for (int i = 0; i < 5000; ++i) {
    std::vector<std::byte> bad = good;
    if (i % 2)
      bad.resize(random() % good.size());
    else
      bad[random() % good.size()] ^= static_cast<std::byte>(1u << random() % 8);
    try {
      const NpyInts ints = parse_npy_ints(bad, "bad.npy");
      EXPECT_EQ(ints.shape.elems(), static_cast<int64_t>(ints.values.size()));
    } catch (const Error&) {
    }
  }
}

}  // namespace
}  // namespace tokamak
