// Reference logits that tools/make_logit_fixtures.py dumped from transformers, and the models'
// paths.
#pragma once
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "base/error.h"
#include "formats/safetensors.h"
#include "tokamak/llm.h"

namespace tokamak::test {

// A build that was carried to another machine finds its data by TOKAMAK_TEST_DATA_DIR.
inline std::filesystem::path data(const std::string& name) {
  const char* folder = std::getenv("TOKAMAK_TEST_DATA_DIR");
  return std::filesystem::path(folder ? folder : TOKAMAK_TEST_DATA) / "models" / name;
}

// Where the engines run: TOKAMAK_TEST_DEVICE, else the CPU.
inline std::string device() {
  const char* device = std::getenv("TOKAMAK_TEST_DEVICE");
  return device ? device : "cpu";
}

// Real models come with ./dev test, which fetches them and names them in the environment.
inline std::filesystem::path real_model(const char* variable) {
  const char* path = std::getenv(variable);
  if (!path) fail("{} is not set; run the tests by ./dev test, which fetches the models", variable);
  return path;
}

template <typename T>
std::span<const T> values(const TensorView& t) {
  return {t.as<T>(), static_cast<size_t>(t.shape.elems())};
}

// A folder of its own for what a test converts and builds, gone with it.
struct TempDir {
  std::filesystem::path path;
  explicit TempDir(const std::string& name)
      : path(std::filesystem::temp_directory_path() / (name + "-" + std::to_string(::getpid()))) {
    std::filesystem::remove_all(path);
    std::filesystem::create_directories(path);
  }
  ~TempDir() { std::filesystem::remove_all(path); }
};

inline int32_t argmax(std::span<const float> row) {
  return static_cast<int32_t>(std::max_element(row.begin(), row.end()) - row.begin());
}

inline double log_sum_exp(std::span<const float> row) {
  const double top = *std::max_element(row.begin(), row.end());
  double sum = 0;
  for (const float l : row) sum += std::exp(l - top);
  return std::log(sum) + top;
}

}  // namespace tokamak::test
