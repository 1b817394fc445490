#include "backend/cpu/cpu_backend.h"

#include <fmt/core.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "backend/cpu/huge_memory.h"
#include "backend/cpu/limits.h"
#include "backend/cpu/plugin/plugin.h"
#include "backend/cpu/registry.h"
#include "backend/cpu/topology.h"
#include "backend/cpu/worker_pool.h"

namespace tokamak {
namespace {

constexpr int kMaxWorkers = 1024;

CpuTarget make_target(const CpuTopology& topology, const CpuOptions& options) {
  if (options.workers < 0 || options.workers > kMaxWorkers)
    fail("CPU workers: found {}; expected 1 to {} (0: one per core)", options.workers, kMaxWorkers);
  CpuTarget t;
  t.isa = choose_isa(options.isa);
  t.avx512_bf16 = t.isa >= Isa::avx512_vnni && isa_report().avx512_bf16();
  t.workers = options.workers ? options.workers : topology.default_workers();
  if (topology.l1d_bytes) t.l1d_bytes = topology.l1d_bytes;
  if (topology.l2_bytes) t.l2_bytes = topology.l2_bytes;
  if (topology.l3_bytes) t.l3_bytes = topology.l3_bytes;
  return t;
}

PoolOptions make_pool_options(const CpuTopology& topology, const CpuOptions& options, int workers) {
  PoolOptions p;
  p.idle_spin = std::chrono::microseconds(options.idle_spin_us);
  if (topology.l2_bytes) p.ahead_bytes = topology.l2_bytes / 2;
  p.crowded = workers > topology.logical_cpus();
  if (!options.pin || p.crowded || workers == 1) return p;
  p.cpus = place_workers(topology, workers, options.placement);
  for (const CpuCore& core : topology.cores) {
    const auto mine = [&](int cpu) {
      return std::find(p.cpus.begin() + 1, p.cpus.end(), cpu) != p.cpus.end();
    };
    const auto first = [&](int cpu) { return cpu == p.cpus[0]; };
    if (std::any_of(core.cpus.begin(), core.cpus.end(), first)) continue;
    if (std::none_of(core.cpus.begin(), core.cpus.end(), mine)) continue;
    for (const int cpu : core.cpus) {
      if (static_cast<size_t>(cpu) >= p.others_cores.size())
        p.others_cores.resize(static_cast<size_t>(cpu) + 1);
      p.others_cores[static_cast<size_t>(cpu)] = true;
    }
  }
  return p;
}

DeviceProperties make_properties(const CpuTopology& topology, const CpuTarget& target) {
  DeviceProperties p;
  p.name = fmt::format("{} ({} {})", cpu_brand(), target.workers,
                       target.workers == 1 ? "worker" : "workers");
  p.isa = std::string(name(target.isa));
  p.workers = target.workers;
  p.memory_bytes = topology.memory_bytes;
  p.key = fmt::format("{}; {}{}; {} workers; L2 {} KiB, L3 {} KiB", cpu_brand(), p.isa,
                      target.avx512_bf16 ? "+avx512_bf16" : "", target.workers,
                      target.l2_bytes >> 10, target.l3_bytes >> 10);
  return p;
}

class CpuBackend final : public Backend {
 public:
  CpuBackend(const CpuTopology& topology, const CpuTarget& target, PoolOptions pool)
      : target_(target),
        properties_(make_properties(topology, target)),
        registry_(make_cpu_registry(target)),
        nodes_(nodes_of(topology, pool.cpus)),
        pool_(target.workers, std::move(pool)) {}
  void add_plugin(std::shared_ptr<const PluginLibrary> library) override {
    tokamak::add_plugin(registry_, library);
  }

  std::string_view name() const override { return "cpu"; }
  const DeviceProperties& properties() const override { return properties_; }
  DeviceLimits measure_limits() override {
    if (!measured_) limits_ = measure_cpu_limits(pool_, target_, nodes_);
    measured_ = true;
    return limits_;
  }
  // Activations are few: widening them costs less than rounding them after every op.
  DType activation_dtype(DType) const override { return DType::f32; }

  std::span<const Tactic* const> tactics(Op op) const override { return registry_.tactics(op); }
  const WeightLayout* layout(std::string_view name) const override {
    return registry_.layout(name);
  }

  Buffer allocate(size_t bytes) override;
  void release(std::byte* p, size_t bytes) override;
  bool in_host_memory() const override { return true; }
  void copy_in(std::byte* device, const std::byte* host, size_t bytes) override {
    std::memcpy(device, host, bytes);
  }
  void copy_out(std::byte* host, const std::byte* device, size_t bytes) override {
    std::memcpy(host, device, bytes);
  }
  void run(std::span<const BoundLaunch> launches, std::byte* workspace, const StepContext& step,
           std::span<double> times_us) override;
  void parallel(const std::function<void(int, int)>& fn) override;

 private:
  const CpuTarget target_;
  const DeviceProperties properties_;
  CpuRegistry registry_;
  const std::vector<int> nodes_;  // of pinned workers; memory alternates between several
  WorkerPool pool_;
  DeviceLimits limits_;
  bool measured_ = false;
};

Backend::Buffer CpuBackend::allocate(size_t bytes) {
  std::byte* p = map_memory(bytes, nodes_);
  if (p == nullptr)
    fail("cannot allocate {} MiB of memory ({}); {} MiB are installed",
         (bytes + (1 << 20) - 1) >> 20, std::strerror(errno), properties_.memory_bytes >> 20);
  return Buffer(p, Deleter{this, bytes});
}

void CpuBackend::release(std::byte* p, size_t bytes) { unmap_memory(p, bytes); }

struct Walk {
  std::span<const BoundLaunch> launches;
  std::byte* workspace;
  const StepContext* step;
  std::span<double> times_us;
};

double now_us() {
  const auto t = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double, std::micro>(t).count();
}

// What launch i+1 streams, or where that is little (a norm's weights), the one after it.
CpuExec::Streams read_after(std::span<const BoundLaunch> launches, size_t i) {
  constexpr size_t kLittle = 64 << 10;
  for (size_t next = i + 1; next < std::min(i + 3, launches.size()); ++next) {
    size_t bytes = 0;
    for (const auto& stream : launches[next].streams) bytes += stream.size();
    if (bytes > kLittle) return launches[next].streams;
  }
  return {};
}

// Every worker walks the whole list; they meet after each launch (after the last: in the pool).
// noexcept: a worker that left early would let the others wait for ever.
void walk(void* context, CpuExec& exec) noexcept {
  const Walk& w = *static_cast<const Walk*>(context);
  const bool timed_run = !w.times_us.empty(), timed = exec.worker == 0 && timed_run;
  double last = timed ? now_us() : 0;
  for (size_t i = 0; i < w.launches.size(); ++i) {
    const BoundLaunch& launch = w.launches[i];
    exec.next = read_after(w.launches, i);
    launch.kernel->launch({launch.in, launch.out, w.workspace, w.step}, exec);
    if (i + 1 < w.launches.size())
      exec.barrier_ahead();
    else if (timed_run)
      exec.barrier();
    if (timed) {
      const double now = now_us();
      w.times_us[i] = now - last;
      last = now;
    }
  }
}

void CpuBackend::run(std::span<const BoundLaunch> launches, std::byte* workspace,
                     const StepContext& step, std::span<double> times_us) {
  TOKAMAK_ASSERT(times_us.empty() || times_us.size() == launches.size());
  Walk w{launches, workspace, &step, times_us};
  pool_.run(walk, &w);
}

void CpuBackend::parallel(const std::function<void(int, int)>& fn) {
  auto job = [](void* context, CpuExec& exec) {
    (*static_cast<const std::function<void(int, int)>*>(context))(exec.worker, exec.workers);
  };
  pool_.run(job, const_cast<void*>(static_cast<const void*>(&fn)));
}

}  // namespace

std::unique_ptr<Backend> make_cpu_backend(const CpuOptions& options) {
  const CpuTopology topology = read_topology();
  const CpuTarget target = make_target(topology, options);
  return std::make_unique<CpuBackend>(topology, target,
                                      make_pool_options(topology, options, target.workers));
}

}  // namespace tokamak
