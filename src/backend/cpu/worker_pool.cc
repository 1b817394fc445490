#include "backend/cpu/worker_pool.h"

#include <immintrin.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <climits>

#include "backend/cpu/cpu_mask.h"

namespace tokamak {
namespace {

// A pause is 40 … 140 cycles: some 50 µs of spinning before the first yield.
constexpr int kPauses = 2000, kPausesCrowded = 8;
constexpr std::chrono::milliseconds kMeetYield{20};  // before a meeting worker sleeps

uint32_t* futex_word(std::atomic<uint32_t>& a) {
  static_assert(sizeof(std::atomic<uint32_t>) == 4);
  return reinterpret_cast<uint32_t*>(&a);
}

}  // namespace

void Gate::advance() {
  // Sequentially consistent with the sleeper's count: either it sees the new value or we see it.
  value_.fetch_add(1, std::memory_order_seq_cst);
  if (sleepers_.load(std::memory_order_seq_cst) != 0)
    syscall(SYS_futex, futex_word(value_), FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
}

void Gate::wait_past(uint32_t seen, int pauses, std::chrono::microseconds yield_for) {
  for (int i = 0; i < pauses; ++i) {
    if (value() != seen) return;
    _mm_pause();
  }
  const auto end = std::chrono::steady_clock::now() + yield_for;
  do {
    if (value() != seen) return;
    sched_yield();
  } while (std::chrono::steady_clock::now() < end);
  sleepers_.fetch_add(1, std::memory_order_seq_cst);
  while (value_.load(std::memory_order_seq_cst) == seen)
    syscall(SYS_futex, futex_word(value_), FUTEX_WAIT_PRIVATE, seen, nullptr, nullptr, 0);
  sleepers_.fetch_sub(1, std::memory_order_seq_cst);
}

WorkerPool::WorkerPool(int workers, PoolOptions options)
    : workers_(workers),
      options_(std::move(options)),
      pauses_(options_.crowded ? kPausesCrowded : kPauses),
      own_tasks_(static_cast<size_t>(workers)) {
  TOKAMAK_ASSERT(workers >= 1);
  TOKAMAK_ASSERT(options_.cpus.empty() || static_cast<int>(options_.cpus.size()) >= workers);
  threads_.reserve(static_cast<size_t>(workers) - 1);
  for (int w = 1; w < workers; ++w) threads_.emplace_back([this, w] { work(w); });
}

WorkerPool::~WorkerPool() {
  stop_ = true;
  start_.advance();
  for (std::thread& t : threads_) t.join();
}

void WorkerPool::work(int worker) {
  if (!options_.cpus.empty()) set_thread_cpus({options_.cpus[static_cast<size_t>(worker)]});
  for (uint32_t seen = 0;; ++seen) {
    start_.wait_past(seen, pauses_, options_.idle_spin);
    if (stop_) return;
    run_job(worker);
  }
}

void WorkerPool::run_job(int worker) {
  CpuExec exec;
  exec.worker = worker;
  exec.workers = workers_;
  exec.pool = this;
  exec.phase = own_tasks_[static_cast<size_t>(worker)].phase;
  try {
    job_(context_, exec);
  } catch (...) {
    const std::lock_guard lock(error_mutex_);
    if (!error_) error_ = std::current_exception();
  }
  own_tasks_[static_cast<size_t>(worker)].phase = exec.phase + 1;
  barrier(exec, false);
}

// The scheduler leaves two busy threads on one CPU for milliseconds. Once moved, the caller stays:
// the other CPUs are busy with pinned threads.
void WorkerPool::move_caller() const {
  const int cpu = options_.others_cores.empty() ? -1 : sched_getcpu();
  if (cpu < 0 || static_cast<size_t>(cpu) >= options_.others_cores.size()) return;
  if (!options_.others_cores[static_cast<size_t>(cpu)]) return;
  move_thread(options_.cpus[0]);
}

void WorkerPool::run(Job job, void* context) {
  const std::lock_guard lock(turn_);
  move_caller();
  job_ = job;
  context_ = context;
  start_.advance();
  run_job(0);
  if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
}

void WorkerPool::barrier(CpuExec& e, bool fetches) {
  const uint32_t seen = meet_.value();
  ++e.phase;
  // Nobody takes from the counters of the phase before any more.
  own_tasks_[static_cast<size_t>(e.worker)].next[e.phase & 1].store(0, std::memory_order_relaxed);
  const int arrived = arrived_.fetch_add(1, std::memory_order_acq_rel);
  if (arrived + 1 < workers_) {
    if (fetches) fetch_ahead(e, seen);
    meet_.wait_past(seen, pauses_, kMeetYield);
    return;
  }
  // The last one: nobody else is between barriers now.
  arrived_.store(0, std::memory_order_relaxed);
  next_task_.store(0, std::memory_order_relaxed);
  meet_.advance();
}

// Until the last one arrives.
void WorkerPool::fetch_ahead(const CpuExec& e, uint32_t seen) const {
  for (const std::span<const std::byte> stream : e.next) {
    const WorkRange mine = share(static_cast<int64_t>(stream.size()), e.worker, e.workers, 64);
    const auto bytes = static_cast<size_t>(mine.end - mine.begin);
    const std::byte* begin = stream.data() + mine.begin;
    for (size_t i = 0; i < std::min(bytes, options_.ahead_bytes / e.next.size()); i += 64) {
      if (meet_.value() != seen) return;
      _mm_prefetch(reinterpret_cast<const char*>(begin + i), _MM_HINT_T1);
    }
  }
}

void CpuExec::barrier() { pool->barrier(*this, false); }
void CpuExec::barrier_ahead() { pool->barrier(*this, true); }
int64_t CpuExec::next_task() { return pool->next_task_.fetch_add(1, std::memory_order_relaxed); }
int64_t CpuExec::next_task_of(int owner, int64_t tasks) {
  std::atomic<int64_t>& next = pool->own_tasks_[static_cast<size_t>(owner)].next[phase & 1];
  if (next.load(std::memory_order_relaxed) >= tasks) return tasks;
  return std::min(next.fetch_add(1, std::memory_order_relaxed), tasks);
}

}  // namespace tokamak
