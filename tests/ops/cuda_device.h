// A CUDA device for tests that need one.
#pragma once
#include <gtest/gtest.h>

#include <string>

#include "backend/backend.h"

namespace tokamak::test {

// The process's; null, with the reason, where this machine has none.
Backend* cuda_device(std::string* reason = nullptr);

// Skipped without one; failed where TOKAMAK_NEED_CUDA is set.
class CudaTest : public testing::Test {
 protected:
  void SetUp() override;
  static Backend& cuda() { return *cuda_device(); }
};

}  // namespace tokamak::test
