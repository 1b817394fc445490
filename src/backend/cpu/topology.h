// The CPUs that this process may use: its affinity mask and control groups, physical cores behind
// hyper-threads, NUMA nodes, its CPU quota and cache sizes, as hwloc and Linux tell them.
#pragma once
#include <cstddef>
#include <string>
#include <vector>

namespace tokamak {

struct CpuCore {
  std::vector<int> cpus;  // its allowed logical CPUs: SMT siblings; never empty
  int node = 0;           // index into CpuTopology::nodes
};

struct NumaNode {
  int os_index = 0;
  size_t memory_bytes = 0;
};

struct CpuTopology {
  std::vector<CpuCore> cores;   // allowed ones, neighbours beside each other, node by node
  std::vector<NumaNode> nodes;  // those with an allowed core, at least one
  double quota = 0;             // CPUs that the control group grants; 0: no limit
  size_t l1d_bytes = 0, l2_bytes = 0, l3_bytes = 0;  // of the first allowed core; 0: unknown
  size_t memory_bytes = 0;                           // of the machine

  int logical_cpus() const;
  // Physical cores, or fewer when the quota is smaller.
  int default_workers() const;
};

// Error: hwloc cannot read this machine.
CpuTopology read_topology();
// The same of a made-up machine in hwloc's words: "numa:2 core:4 pu:2".
CpuTopology synthetic_topology(const std::string& description);

enum class Placement {
  compact,  // fill a NUMA node before the next: few workers share caches and near memory
  spread,   // the same number on each node: every memory controller is used
};

// One logical CPU for each of `workers` workers: physical cores first, then their SMT siblings.
// Empty when there are fewer logical CPUs than workers.
std::vector<int> place_workers(const CpuTopology& topology, int workers, Placement placement);

// The OS numbers of the NUMA nodes that these CPUs belong to.
std::vector<int> nodes_of(const CpuTopology& topology, const std::vector<int>& cpus);

}  // namespace tokamak
