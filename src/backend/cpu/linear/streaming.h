// How weights are read when tokens are few: each worker its share from begin to end, so that memory
// sees few long streams, then what others have not begun.
#pragma once
#include <algorithm>

#include "backend/cpu/cpu_exec.h"

namespace tokamak {

inline constexpr int kHelped = 8;  // workers whose tasks a worker may take

// Where this worker's share of the launches to come begins, about.
inline const std::byte* next_share(const CpuExec& e) {
  if (e.next.empty()) return nullptr;
  return e.next[0].data() +
         share(static_cast<int64_t>(e.next[0].size()), e.worker, e.workers, 64).begin;
}

// f(begin, end, next) for tasks of `step` groups; shares are whole units. `next` is read after the
// task; null: what lies there.
template <typename F>
void stream_groups(CpuExec& e, int64_t groups, int64_t step, int64_t unit, const F& f) {
  for (int i = 0; i < std::min(e.workers, kHelped + 1); ++i) {
    const int owner = (e.worker + i) % e.workers;
    const WorkRange mine = share(groups, owner, e.workers, unit);
    const int64_t tasks = (mine.end - mine.begin + step - 1) / step;
    for (int64_t t = e.next_task_of(owner, tasks); t < tasks; t = e.next_task_of(owner, tasks)) {
      const int64_t g = mine.begin + t * step;
      f(g, std::min(g + step, mine.end), t + 1 < tasks ? nullptr : next_share(e));
    }
  }
}

}  // namespace tokamak
