// The CPUs that this process may use: its affinity mask, cores behind hyper-threads, its CPU quota,
// and cache sizes, as Linux tells them.
#pragma once
#include <cstddef>
#include <vector>

namespace tokamak {

struct CpuTopology {
  std::vector<int> allowed;  // logical CPUs of the affinity mask
  std::vector<int> cores;    // one logical CPU per allowed physical core
  double quota = 0;          // CPUs that the control group grants; 0: no limit
  size_t l1d_bytes = 0, l2_bytes = 0, l3_bytes = 0;  // of the first allowed CPU; 0: unknown
  size_t memory_bytes = 0;

  // Physical cores, or fewer when the quota is smaller.
  int default_workers() const;
};

CpuTopology read_topology();

}  // namespace tokamak
