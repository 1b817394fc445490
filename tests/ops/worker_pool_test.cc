#include "backend/cpu/worker_pool.h"

#include <gtest/gtest.h>

#include <numeric>

#include "backend/cpu/cpu_backend.h"

namespace tokamak {
namespace {

PoolOptions crowded(int idle_us) {
  PoolOptions o;
  o.crowded = true;
  o.idle_spin = std::chrono::microseconds(idle_us);
  return o;
}

// Each phase writes its own slot and reads the neighbour's slot of the phase before: without a
// barrier between them (and under TSan without an ordering) this fails.
struct Phases {
  std::vector<int64_t> slots;
  std::atomic<int> wrong{0};
};

void walk_phases(void* context, CpuExec& e) {
  auto& p = *static_cast<Phases*>(context);
  for (int64_t phase = 1; phase <= 20; ++phase) {
    p.slots[static_cast<size_t>(e.worker)] = phase;
    e.barrier();
    if (p.slots[static_cast<size_t>((e.worker + 1) % e.workers)] != phase) ++p.wrong;
    e.barrier();
  }
}

TEST(WorkerPool, BarriersOrderPhases) {
  for (const int workers : {1, 2, 3, 8}) {
    WorkerPool pool(workers, crowded(100));
    Phases p;
    p.slots.assign(static_cast<size_t>(workers), 0);
    for (int run = 0; run < 50; ++run) pool.run(walk_phases, &p);
    EXPECT_EQ(p.wrong, 0) << workers << " workers";
  }
}

struct Tasks {
  std::vector<int> first, second;  // how often each task ran; one slot has one writer
};

void take_tasks(void* context, CpuExec& e) {
  auto& t = *static_cast<Tasks*>(context);
  const auto n = static_cast<int64_t>(t.first.size());
  for (int64_t i = e.next_task(); i < n; i = e.next_task()) ++t.first[static_cast<size_t>(i)];
  e.barrier();
  for (int64_t i = e.next_task(); i < n; i = e.next_task()) ++t.second[static_cast<size_t>(i)];
}

TEST(WorkerPool, TasksAreHandedOutOnceAndStartAgainAfterABarrier) {
  for (const int workers : {1, 2, 3, 8}) {
    WorkerPool pool(workers, crowded(0));
    Tasks t{std::vector<int>(101, 0), std::vector<int>(101, 0)};
    for (int run = 0; run < 20; ++run) pool.run(take_tasks, &t);
    EXPECT_EQ(t.first, std::vector<int>(101, 20));
    EXPECT_EQ(t.second, std::vector<int>(101, 20));
  }
}

// Every worker takes its own tasks, then the others'; in every second phase a common task as well.
void take_own_tasks(void* context, CpuExec& e) {
  auto& taken = *static_cast<std::vector<std::vector<int>>*>(context);
  for (int phase = 0; phase < 3; ++phase) {
    for (int i = 0; i < e.workers; ++i) {
      const int owner = (e.worker + i) % e.workers;
      auto& slots = taken[static_cast<size_t>(owner)];
      const auto n = static_cast<int64_t>(slots.size());
      for (int64_t t = e.next_task_of(owner, n); t < n; t = e.next_task_of(owner, n))
        ++slots[static_cast<size_t>(t)];
    }
    e.barrier();
  }
}

TEST(WorkerPool, OwnTasksAreTakenOnceInEveryPhase) {
  for (const int workers : {1, 2, 3, 8}) {
    WorkerPool pool(workers, crowded(0));
    std::vector<std::vector<int>> taken(static_cast<size_t>(workers));
    for (size_t w = 0; w < taken.size(); ++w) taken[w].assign(1 + 7 * w, 0);
    for (int run = 0; run < 21; ++run) pool.run(take_own_tasks, &taken);
    for (const auto& slots : taken) EXPECT_EQ(slots, std::vector<int>(slots.size(), 63));
  }
}

TEST(WorkerPool, SleepersWakeUp) {
  WorkerPool pool(3, crowded(0));  // asleep at once
  std::atomic<int> count{0};
  const auto job = [](void* c, CpuExec&) { ++*static_cast<std::atomic<int>*>(c); };
  for (int run = 0; run < 20; ++run) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    pool.run(job, &count);
  }
  EXPECT_EQ(count, 60);
}

TEST(WorkerPool, CallersTakeTurns) {
  WorkerPool pool(2, crowded(50));
  std::vector<int> sums(4, 0);
  std::vector<std::thread> callers;
  for (int c = 0; c < 4; ++c)
    callers.emplace_back([&pool, &sum = sums[static_cast<size_t>(c)]] {
      const auto job = [](void* s, CpuExec& e) {
        if (e.worker == 1) ++*static_cast<int*>(s);
      };
      for (int run = 0; run < 50; ++run) pool.run(job, &sum);
    });
  for (std::thread& t : callers) t.join();
  EXPECT_EQ(sums, std::vector<int>(4, 50));
}

TEST(CpuBackend, ParallelRunsEveryWorkerAndHandsOnErrors) {
  const auto backend = make_cpu_backend({3, "reference"});
  std::vector<int> seen(3, 0);
  backend->parallel([&](int worker, int workers) {
    EXPECT_EQ(workers, 3);
    ++seen[static_cast<size_t>(worker)];
  });
  EXPECT_EQ(seen, std::vector<int>(3, 1));
  EXPECT_THROW(backend->parallel([](int worker, int) {
    if (worker == 2) fail("worker {} found a bad file", worker);
  }),
               Error);
  backend->parallel([&](int worker, int) { ++seen[static_cast<size_t>(worker)]; });
  EXPECT_EQ(seen, std::vector<int>(3, 2));
}

TEST(CpuBackend, MemoryIsAlignedZeroedAndOfAnySize) {
  const auto backend = make_cpu_backend({1, "reference"});
  for (const size_t bytes :
       {size_t{0}, size_t{1}, size_t{4096}, size_t{2} << 20, (size_t{5} << 20) + 3}) {
    const auto buffer = backend->allocate(bytes);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.get()) % 64, 0u);
    int sum = 0;
    for (size_t i = 0; i < bytes; ++i) sum += static_cast<int>(buffer[i]);
    EXPECT_EQ(sum, 0);
  }
}

}  // namespace
}  // namespace tokamak
