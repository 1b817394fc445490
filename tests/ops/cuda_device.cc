#include "cuda_device.h"

#include <cstdlib>

#include "backend/cuda_plugin.h"
#include "base/error.h"

namespace tokamak::test {

Backend* cuda_device(std::string* reason) {
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

void CudaTest::SetUp() {
  std::string why;
  if (cuda_device(&why)) return;
  ASSERT_EQ(std::getenv("TOKAMAK_NEED_CUDA"), nullptr) << why;
  GTEST_SKIP() << why;
}

}  // namespace tokamak::test
