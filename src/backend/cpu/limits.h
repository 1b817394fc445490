// Measured limits of this machine: what the best loop of a level reaches with every worker.
#pragma once
#include "backend/backend.h"
#include "backend/cpu/cpu_tactic.h"
#include "backend/cpu/worker_pool.h"

namespace tokamak {

DeviceLimits measure_cpu_limits(WorkerPool& pool, const CpuTarget& target);

}  // namespace tokamak
