#include "backend/cpu/topology.h"

#include <gmock/gmock.h>
#include <sched.h>

#include <thread>

#include "backend/cpu/cpu_mask.h"
#include "backend/cpu/huge_memory.h"
#include "backend/cpu/worker_pool.h"
#include "base/error.h"

namespace tokamak {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(Topology, OfThisMachine) {
  const CpuTopology t = read_topology();
  const std::vector<int> allowed = thread_cpus();
  EXPECT_GE(t.default_workers(), 1);
  EXPECT_EQ(static_cast<size_t>(t.logical_cpus()), allowed.size());
  EXPECT_GT(t.memory_bytes, size_t{1} << 20);
  ASSERT_FALSE(t.nodes.empty());
  for (const CpuCore& c : t.cores) {
    EXPECT_LT(static_cast<size_t>(c.node), t.nodes.size());
    for (const int cpu : c.cpus) EXPECT_THAT(allowed, testing::Contains(cpu));
  }
}

TEST(Topology, HonoursTheAffinityOfTheThread) {
  const std::vector<int> own = thread_cpus();
  std::thread([&] {
    set_thread_cpus({own.back()});
    const CpuTopology t = read_topology();
    ASSERT_EQ(t.cores.size(), 1u);
    EXPECT_THAT(t.cores[0].cpus, ElementsAre(own.back()));
    EXPECT_EQ(t.default_workers(), 1);
  }).join();
}

TEST(Topology, SiblingsAndNodes) {
  const CpuTopology t =
      synthetic_topology("numa:2 l3:1(size=8388608) l2:4(size=1048576) core:1 pu:2");
  ASSERT_EQ(t.nodes.size(), 2u);
  ASSERT_EQ(t.cores.size(), 8u);
  EXPECT_EQ(t.logical_cpus(), 16);
  EXPECT_EQ(t.default_workers(), 8);
  EXPECT_THAT(t.cores[1].cpus, ElementsAre(2, 3));
  EXPECT_EQ(t.cores[3].node, 0);
  EXPECT_EQ(t.cores[4].node, 1);
  EXPECT_EQ(t.l2_bytes, 1048576u);
  EXPECT_EQ(t.l3_bytes, 8388608u);
}

TEST(Topology, AQuotaLimitsTheDefault) {
  CpuTopology t = synthetic_topology("numa:1 core:8 pu:1");
  t.quota = 2.5;
  EXPECT_EQ(t.default_workers(), 3);
  t.quota = 20;
  EXPECT_EQ(t.default_workers(), 8);
}

TEST(Topology, WorkersTakeCoresBeforeSiblings) {
  const CpuTopology t = synthetic_topology("numa:2 core:2 pu:2");
  EXPECT_THAT(place_workers(t, 2, Placement::compact), ElementsAre(0, 2));
  EXPECT_THAT(place_workers(t, 2, Placement::spread), ElementsAre(0, 4));
  EXPECT_THAT(place_workers(t, 4, Placement::spread), ElementsAre(0, 4, 2, 6));
  EXPECT_THAT(place_workers(t, 6, Placement::compact), ElementsAre(0, 2, 4, 6, 1, 3));
  EXPECT_THAT(place_workers(t, 9, Placement::compact), IsEmpty());
  EXPECT_THAT(nodes_of(t, {0, 2}), ElementsAre(0));
  EXPECT_THAT(nodes_of(t, {0, 4}), ElementsAre(0, 1));
}

TEST(Topology, NonsenseIsAnError) { EXPECT_THROW(synthetic_topology("cores everywhere"), Error); }

TEST(HugeMemory, AlignedZeroedAndGivenBack) {
  for (const size_t bytes : {size_t{1}, size_t{5000}, (size_t{4} << 20) + 1}) {
    std::byte* p = map_memory(bytes, {0, 0});  // several nodes, though all are one
    ASSERT_NE(p, nullptr);
    if (bytes >= (2u << 20)) {
      EXPECT_EQ(reinterpret_cast<uintptr_t>(p) % (2u << 20), 0u);
    }
    for (size_t i = 0; i < bytes; i += 4096) EXPECT_EQ(p[i], std::byte{0});
    p[bytes - 1] = std::byte{1};
    EXPECT_EQ(p[bytes - 1], std::byte{1});
    unmap_memory(p, bytes);
  }
}

// The caller leaves another worker's core, and keeps its own affinity.
TEST(WorkerPool, TheCallerMovesToItsCore) {
  const std::vector<int> own = thread_cpus();
  if (own.size() < 2) GTEST_SKIP() << "one CPU";
  std::thread([&] {
    set_thread_cpus({own[1]});
    set_thread_cpus(own);
    PoolOptions o;
    o.cpus = {own[0], own[1]};
    o.others_cores.resize(static_cast<size_t>(own[1]) + 1);
    o.others_cores[static_cast<size_t>(own[1])] = true;
    WorkerPool pool(2, o);
    std::vector<int> at(2, -1);
    for (int run = 0; run < 3; ++run)
      pool.run([](void* c, CpuExec& e) { static_cast<int*>(c)[e.worker] = sched_getcpu(); },
               at.data());
    EXPECT_EQ(at[1], own[1]);
    EXPECT_EQ(thread_cpus(), own);
  }).join();
}

}  // namespace
}  // namespace tokamak
