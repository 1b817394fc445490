// Workers that walk work together. The calling thread is worker 0; the others wait for it, spinning
// for a while and then asleep, so that a step starts in a microsecond and an idle pool burns
// nothing. Workers 1 … are pinned; the caller is only moved to worker 0's core when it stands on
// another worker's, and keeps its own affinity.
#pragma once
#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "backend/cpu/cpu_exec.h"

namespace tokamak {

struct PoolOptions {
  std::vector<int> cpus;           // where worker i runs; empty: not pinned
  std::vector<bool> others_cores;  // by logical CPU: of a core that belongs to workers 1 …
  bool crowded = false;            // more workers than CPUs: yield soon instead of spinning
  std::chrono::microseconds idle_spin{500};  // how long an idle worker stays awake
  size_t ahead_bytes = 512 << 10;            // that workers fetch while they wait at a barrier
};

// A counter that some threads wait on: spinning, then yielding, then asleep on a futex.
class alignas(64) Gate {
 public:
  uint32_t value() const { return value_.load(std::memory_order_acquire); }
  void advance();
  // Returns once value() differs from `seen`.
  void wait_past(uint32_t seen, int pauses, std::chrono::microseconds yield_for);

 private:
  std::atomic<uint32_t> value_{0};
  std::atomic<uint32_t> sleepers_{0};
};

class WorkerPool {
 public:
  WorkerPool(int workers, PoolOptions options = {});
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  int workers() const { return workers_; }

  // Runs job(context, exec) on every worker and returns when all are done. Callers take turns; a
  // job must not call run(). An exception of a job without barriers is rethrown here.
  using Job = void (*)(void* context, CpuExec& exec);
  void run(Job job, void* context);

 private:
  friend struct CpuExec;
  void work(int worker);
  void move_caller() const;
  void run_job(int worker);
  void barrier(CpuExec& e, bool fetches);
  void fetch_ahead(const CpuExec& e, uint32_t seen) const;

  // A worker's own tasks, counted by turns in one of two: the other is cleared meanwhile.
  struct alignas(64) OwnTasks {
    std::atomic<int64_t> next[2]{};
    uint32_t phase = 0;  // after the last job
  };

  const int workers_;
  const PoolOptions options_;
  const int pauses_;
  std::mutex turn_;
  Job job_ = nullptr;
  void* context_ = nullptr;
  bool stop_ = false;
  std::exception_ptr error_;
  std::mutex error_mutex_;
  Gate start_, meet_;
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<int64_t> next_task_{0};
  std::vector<OwnTasks> own_tasks_;
  std::vector<std::thread> threads_;
};

}  // namespace tokamak
