// What a CPU kernel sees of the pool that runs it. Kept free of inline code that a unit compiled
// for a higher ISA level could emit as a shared symbol.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "backend/backend.h"

namespace tokamak {

class WorkerPool;

// Every worker calls Kernel::launch with its own CpuExec; the pool lets them meet at its end.
struct CpuExec : ExecContext {
  using Streams = std::span<const std::span<const std::byte>>;
  int worker = 0, workers = 1;
  uint32_t phase = 0;  // barriers that this worker has passed
  WorkerPool* pool = nullptr;
  Streams next;  // weights that the launches after this one read first

  // All workers of the launch must call it.
  void barrier();
  // The same, where workers that wait fetch the first bytes of their shares of `next`.
  void barrier_ahead();
  // 0, 1, 2 … handed out over all workers; from 0 again after each barrier and in each launch.
  int64_t next_task();
  // 0, 1, 2 … below `tasks` of one worker's own, of which others may take some; `tasks` when none
  // is left. Starts again as next_task().
  int64_t next_task_of(int owner, int64_t tasks);
};

namespace {

struct WorkRange {
  int64_t begin, end;
};
// This worker's even share of n items, in units of `step`.
[[maybe_unused]] inline WorkRange share(int64_t n, int worker, int workers, int64_t step = 1) {
  const int64_t units = (n + step - 1) / step;
  const int64_t begin = units * worker / workers * step,
                end = units * (worker + 1) / workers * step;
  return {begin < n ? begin : n, end < n ? end : n};
}

}  // namespace
}  // namespace tokamak
