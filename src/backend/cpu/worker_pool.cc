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
constexpr size_t kAheadBlock = 1024;
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
      pauses_(options_.crowded ? kPausesCrowded : kPauses) {
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
  try {
    job_(context_, exec);
  } catch (...) {
    const std::lock_guard lock(error_mutex_);
    if (!error_) error_ = std::current_exception();
  }
  barrier();
}

// The scheduler leaves two busy threads on one CPU for milliseconds. Once moved, the caller stays:
// the other CPUs are busy with pinned threads.
void WorkerPool::move_caller() const {
  const int cpu = options_.others_cores.empty() ? -1 : sched_getcpu();
  if (cpu < 0 || static_cast<size_t>(cpu) >= options_.others_cores.size()) return;
  if (!options_.others_cores[static_cast<size_t>(cpu)]) return;
  const std::vector<int> own = thread_cpus();
  if (std::find(own.begin(), own.end(), options_.cpus[0]) == own.end()) return;
  set_thread_cpus({options_.cpus[0]});
  set_thread_cpus(own);
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

void WorkerPool::barrier(Streams next) {
  const uint32_t seen = meet_.value();
  const int arrived = arrived_.fetch_add(1, std::memory_order_acq_rel);
  if (arrived + 1 < workers_) {
    if (!next.empty()) fetch_ahead(next, seen, arrived);
    meet_.wait_past(seen, pauses_, kMeetYield);
    return;
  }
  // The last one: nobody else is between barriers now.
  arrived_.store(0, std::memory_order_relaxed);
  next_task_.store(0, std::memory_order_relaxed);
  meet_.advance();
}

// Tasks start at the begin of every stream, so that is what the waiting workers fetch, block by
// block in turn, until the last one arrives.
void WorkerPool::fetch_ahead(Streams next, uint32_t seen, int turn) {
  const auto step = static_cast<size_t>(workers_ - 1) * kAheadBlock;
  const size_t most = options_.ahead_bytes / next.size() * static_cast<size_t>(workers_ - 1);
  for (size_t at = static_cast<size_t>(turn) * kAheadBlock; at < most; at += step)
    for (const std::span<const std::byte> stream : next)
      for (size_t i = at; i < std::min(at + kAheadBlock, stream.size()); i += 64) {
        if (meet_.value() != seen) return;
        _mm_prefetch(reinterpret_cast<const char*>(stream.data() + i), _MM_HINT_T1);
      }
}

void CpuExec::barrier() { pool->barrier(); }
void CpuExec::barrier_ahead(WorkerPool::Streams next) { pool->barrier(next); }
int64_t CpuExec::next_task() { return pool->next_task_.fetch_add(1, std::memory_order_relaxed); }

}  // namespace tokamak
