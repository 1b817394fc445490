// A device with memory of its own, of which it has so much: the CPU's reference kernels behind the
// contract that a GPU has.
#pragma once
#include <array>
#include <cstring>
#include <memory>
#include <set>
#include <vector>

#include "backend/cpu/cpu_backend.h"
#include "runtime/forwarding_backend.h"

namespace tokamak::testing {

// Made before the base that refers to it.
struct OwnCpu {
  std::unique_ptr<Backend> cpu = make_cpu_backend({.workers = 2, .isa = {}});
};

class FakeDevice final : private OwnCpu, public ForwardingBackend {
 public:
  explicit FakeDevice(size_t memory_bytes, const std::string& name = "a fake device")
      : ForwardingBackend(*OwnCpu::cpu), memory_(memory_bytes) {
    properties_ = to_.properties();
    properties_.name = name;
    properties_.isa = "fake";
    properties_.key = name;
    properties_.memory_bytes = memory_bytes;
    for (int op = 0; op < kOpCount; ++op)
      for (const Tactic* t : to_.tactics(static_cast<Op>(op)))
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
    return name == "plain" ? to_.layout(name) : nullptr;
  }

  Buffer allocate(size_t bytes) override {
    if (use_.allocated + bytes > memory_) fail("the fake device has no {} bytes left", bytes);
    use_.allocated += bytes;
    use_.peak = std::max(use_.peak, use_.allocated);
    return Buffer(to_.allocate(bytes).release(), Deleter{this, bytes});
  }
  Buffer allocate_shared(size_t bytes) override {
    Buffer b(to_.allocate(bytes).release(), Deleter{this, bytes});
    shared_.insert(b.get());
    return b;
  }
  void release(std::byte* p, size_t bytes) override {
    if (shared_.erase(p) == 0) use_.allocated -= bytes;
    to_.release(p, bytes);
  }
  std::optional<MemoryUse> memory_use() const override {
    MemoryUse use = use_;
    use.total = memory_;
    use.free = memory_ - use_.allocated;
    return use;
  }
  bool in_host_memory() const override { return false; }
  // Weights that a launch does not bring itself are gone: others of the step lay there.
  void run(std::span<const BoundLaunch> launches, std::byte* workspace, const StepContext& step,
           std::span<double> times_us) override {
    for (size_t i = 0; i < launches.size(); ++i) {
      for (const WeightCopy& c : launches[i].copies) {
        std::memcpy(c.to, c.from, c.bytes);
        copied_bytes += c.bytes;
      }
      to_.run(launches.subspan(i, 1), workspace, step,
              times_us.empty() ? times_us : times_us.subspan(i, 1));
      for (const WeightCopy& c : launches[i].copies) std::memset(c.to, 0xff, c.bytes);
    }
  }
  size_t copied_bytes = 0;  // of weights, from host memory

 private:
  const size_t memory_;
  DeviceProperties properties_;
  MemoryUse use_;
  std::set<const std::byte*> shared_;  // of the host's memory
  std::array<std::vector<const Tactic*>, kOpCount> tactics_;
};

}  // namespace tokamak::testing
