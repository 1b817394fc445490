// Debug outputs as files: DIR/step{N}/NAME.npy, N counting the launches of the plan.
#pragma once
#include <filesystem>

#include "runtime/session.h"

namespace tokamak {

class DebugDump {
 public:
  explicit DebugDump(std::filesystem::path directory) : directory_(std::move(directory)) {}
  void write(const DebugTensor& tensor);
  void next_step() { ++step_; }

 private:
  std::filesystem::path directory_;
  int64_t step_ = -1;
};

}  // namespace tokamak
