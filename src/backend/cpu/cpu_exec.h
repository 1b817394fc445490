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
  int worker = 0, workers = 1;
  WorkerPool* pool = nullptr;

  // All workers of the launch must call it.
  void barrier();
  // The same, where workers that wait fetch the first bytes of what is read next.
  void barrier_ahead(std::span<const std::span<const std::byte>> next);
  // 0, 1, 2 … handed out over all workers; from 0 again after each barrier and in each launch.
  int64_t next_task();
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
