// NumPy's .npy files (format 1.0, C order): what run reads prompts from and writes arrays to.
#pragma once
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "base/shape.h"

namespace tokamak {

struct NpyInts {
  Shape shape;
  std::vector<int64_t> values;
};

// Integers of any width; Error names the file, the dtype found and the ones that are read.
NpyInts read_npy_ints(const std::filesystem::path& path);
NpyInts parse_npy_ints(std::span<const std::byte> bytes, const std::string& source);

void write_npy(const std::filesystem::path& path, const Shape& shape,
               std::span<const float> values);
void write_npy(const std::filesystem::path& path, const Shape& shape,
               std::span<const int32_t> values);

}  // namespace tokamak
