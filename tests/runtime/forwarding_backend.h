// A backend that does everything as another one: for tests to change a part of it.
#pragma once
#include "backend/backend.h"

namespace tokamak::testing {

class ForwardingBackend : public Backend {
 public:
  explicit ForwardingBackend(Backend& to) : to_(to) {}
  std::string_view name() const override { return to_.name(); }
  const DeviceProperties& properties() const override { return to_.properties(); }
  DeviceLimits measure_limits() override { return to_.measure_limits(); }
  DType activation_dtype(DType t) const override { return to_.activation_dtype(t); }
  std::span<const Tactic* const> tactics(Op op) const override { return to_.tactics(op); }
  const WeightLayout* layout(std::string_view n) const override { return to_.layout(n); }
  Buffer allocate(size_t bytes) override { return to_.allocate(bytes); }
  void release(std::byte* p, size_t bytes) override { to_.release(p, bytes); }
  bool in_host_memory() const override { return to_.in_host_memory(); }
  void copy_in(std::byte* to, const std::byte* from, size_t n) override {
    to_.copy_in(to, from, n);
  }
  void copy_out(std::byte* to, const std::byte* from, size_t n) override {
    to_.copy_out(to, from, n);
  }
  void run(std::span<const BoundLaunch> launches, std::byte* workspace, const StepContext& step,
           std::span<double> times_us) override {
    to_.run(launches, workspace, step, times_us);
  }
  void parallel(const std::function<void(int, int)>& fn) override { to_.parallel(fn); }

 protected:
  Backend& to_;
};

}  // namespace tokamak::testing
