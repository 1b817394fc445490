// Measured limits of this machine: what the best loop of a level reaches with every worker.
#pragma once
#include <vector>

#include "backend/backend.h"
#include "backend/cpu/cpu_tactic.h"
#include "backend/cpu/worker_pool.h"

namespace tokamak {

// nodes: the OS numbers of the NUMA nodes that memory alternates between; empty or one: none.
DeviceLimits measure_cpu_limits(WorkerPool& pool, const CpuTarget& target,
                                const std::vector<int>& nodes = {});

// The loops of a level that read every cache line of [p, p + bytes), bytes a multiple of 4096: one
// after the other, and in several streams. Which is the faster depends on the machine.
using ReadLoop = void (*)(const std::byte* p, size_t bytes);
std::vector<ReadLoop> read_loops(Isa isa);

}  // namespace tokamak
