// A device with memory of its own, of which it has so much: the CPU's reference kernels behind the
// contract that a GPU has.
#pragma once
#include <array>
#include <memory>
#include <vector>

#include "backend/cpu/cpu_backend.h"

namespace tokamak::testing {

class FakeDevice final : public Backend {
 public:
  explicit FakeDevice(size_t memory_bytes)
      : cpu_(make_cpu_backend({.workers = 2, .isa = {}})), memory_(memory_bytes) {
    properties_ = cpu_->properties();
    properties_.name = "a fake device";
    properties_.isa = "fake";
    properties_.key = "fake";
    properties_.memory_bytes = memory_bytes;
    for (int op = 0; op < kOpCount; ++op)
      for (const Tactic* t : cpu_->tactics(static_cast<Op>(op)))
        if (t->name().ends_with(".reference")) tactics_[static_cast<size_t>(op)].push_back(t);
  }

  std::string_view name() const override { return "fake"; }
  const DeviceProperties& properties() const override { return properties_; }
  DeviceLimits measure_limits() override { return {}; }
  DType activation_dtype(DType) const override { return DType::f32; }
  std::span<const Tactic* const> tactics(Op op) const override {
    return tactics_[static_cast<size_t>(op)];
  }
  const WeightLayout* layout(std::string_view name) const override {
    return name == "plain" ? cpu_->layout(name) : nullptr;
  }

  Buffer allocate(size_t bytes) override {
    if (use_.allocated + bytes > memory_) fail("the fake device has no {} bytes left", bytes);
    use_.allocated += bytes;
    use_.peak = std::max(use_.peak, use_.allocated);
    return Buffer(cpu_->allocate(bytes).release(), Deleter{this, bytes});
  }
  void release(std::byte* p, size_t bytes) override {
    use_.allocated -= bytes;
    cpu_->release(p, bytes);
  }
  std::optional<MemoryUse> memory_use() const override {
    MemoryUse use = use_;
    use.total = memory_;
    use.free = memory_ - use_.allocated;
    return use;
  }
  void copy_in(std::byte* device, const std::byte* host, size_t bytes) override {
    cpu_->copy_in(device, host, bytes);
  }
  void copy_out(std::byte* host, const std::byte* device, size_t bytes) override {
    cpu_->copy_out(host, device, bytes);
  }
  void run(std::span<const BoundLaunch> launches, std::byte* workspace, const StepContext& step,
           std::span<double> times_us) override {
    cpu_->run(launches, workspace, step, times_us);
  }
  void parallel(const std::function<void(int, int)>& fn) override { cpu_->parallel(fn); }

 private:
  std::unique_ptr<Backend> cpu_;
  const size_t memory_;
  DeviceProperties properties_;
  MemoryUse use_;
  std::array<std::vector<const Tactic*>, kOpCount> tactics_;
};

}  // namespace tokamak::testing
