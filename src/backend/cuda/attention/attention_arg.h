// A bound attention op as the kernels' launchers take it.
#pragma once
#include <memory>

#include "backend/cuda/cuda_tactic.h"
#include "backend/cuda/device_memory.h"
#include "backend/cuda/kernels/reference.h"
#include "ops/attention.h"

namespace tokamak {

// The tables of one rope in device memory.
class RopeOnDevice {
 public:
  explicit RopeOnDevice(const RopeAttrs& a);
  const cuda::RopeArg& arg() const { return arg_; }

 private:
  DeviceArray<float> table_, long_table_;
  cuda::RopeArg arg_;
};

class BoundAttention {
 public:
  explicit BoundAttention(const OpSignature& s);
  cuda::AttentionArg arg(const LaunchArgs& args) const;
  const AttentionAttrs& attrs() const { return a_; }

 private:
  const OpSignature s_;
  const AttentionAttrs a_;
  std::unique_ptr<RopeOnDevice> rope_;
};

}  // namespace tokamak
