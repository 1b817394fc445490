#include "backend/cpu/topology.h"

#include <hwloc.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <memory>
#include <type_traits>

#include "base/error.h"

namespace tokamak {
namespace {

using Hwloc = std::unique_ptr<std::remove_pointer_t<hwloc_topology_t>,
                              decltype([](hwloc_topology_t t) { hwloc_topology_destroy(t); })>;

// Without devices; discovery must not move this thread about. Of the real machine only what the
// calling thread may use remains.
Hwloc load(const char* synthetic) {
  hwloc_topology_t t = nullptr;
  if (hwloc_topology_init(&t) != 0) fail("hwloc cannot start: out of memory?");
  Hwloc topology(t);
  if (synthetic != nullptr && hwloc_topology_set_synthetic(t, synthetic) != 0)
    fail("'{}' describes no machine to hwloc", synthetic);
  hwloc_topology_set_flags(t, HWLOC_TOPOLOGY_FLAG_DONT_CHANGE_BINDING);
  hwloc_topology_set_io_types_filter(t, HWLOC_TYPE_FILTER_KEEP_NONE);
  hwloc_topology_set_type_filter(t, HWLOC_OBJ_MISC, HWLOC_TYPE_FILTER_KEEP_NONE);
  if (hwloc_topology_load(t) != 0) fail("hwloc cannot read this machine's topology");
  if (synthetic != nullptr) return topology;
  const std::unique_ptr<hwloc_bitmap_s, decltype([](hwloc_bitmap_t b) { hwloc_bitmap_free(b); })>
      allowed(hwloc_bitmap_alloc());
  if (hwloc_get_cpubind(t, allowed.get(), HWLOC_CPUBIND_THREAD) == 0)
    hwloc_topology_restrict(t, allowed.get(), 0);
  return topology;
}

std::vector<int> indices(hwloc_const_bitmap_t set) {
  std::vector<int> out;
  for (int i = hwloc_bitmap_first(set); i >= 0; i = hwloc_bitmap_next(set, i)) out.push_back(i);
  return out;
}

// Machines that tell no cores (some containers) count every logical CPU.
std::vector<hwloc_obj_t> core_objects(hwloc_topology_t t) {
  const bool told = hwloc_get_nbobjs_by_type(t, HWLOC_OBJ_CORE) > 0;
  std::vector<hwloc_obj_t> cores;
  hwloc_obj_t o = nullptr;
  while ((o = hwloc_get_next_obj_by_type(t, told ? HWLOC_OBJ_CORE : HWLOC_OBJ_PU, o)) != nullptr)
    if (!hwloc_bitmap_iszero(o->cpuset)) cores.push_back(o);
  return cores;
}

size_t cache_bytes(hwloc_topology_t t, hwloc_obj_t core, hwloc_obj_type_t type) {
  const hwloc_obj_t cache =
      core->type == type ? core : hwloc_get_ancestor_obj_by_type(t, type, core);
  return cache != nullptr ? static_cast<size_t>(cache->attr->cache.size) : 0;
}

CpuTopology convert(hwloc_topology_t t) {
  CpuTopology out;
  std::map<int, int> known;  // OS number of a node → index
  for (const hwloc_obj_t core : core_objects(t)) {
    const int node = core->nodeset != nullptr ? std::max(hwloc_bitmap_first(core->nodeset), 0) : 0;
    const auto [at, added] = known.try_emplace(node, static_cast<int>(out.nodes.size()));
    if (added) {
      const hwloc_obj_t o = hwloc_get_numanode_obj_by_os_index(t, static_cast<unsigned>(node));
      out.nodes.push_back({node, o ? static_cast<size_t>(o->attr->numanode.local_memory) : 0});
    }
    out.cores.push_back({indices(core->cpuset), at->second});
  }
  if (out.cores.empty()) fail("hwloc finds no CPU that this process may use");
  std::stable_sort(out.cores.begin(), out.cores.end(),
                   [](const CpuCore& a, const CpuCore& b) { return a.node < b.node; });
  const hwloc_obj_t first = core_objects(t)[0];
  out.l1d_bytes = cache_bytes(t, first, HWLOC_OBJ_L1CACHE);
  out.l2_bytes = cache_bytes(t, first, HWLOC_OBJ_L2CACHE);
  out.l3_bytes = cache_bytes(t, first, HWLOC_OBJ_L3CACHE);
  out.memory_bytes = static_cast<size_t>(hwloc_get_root_obj(t)->total_memory);
  return out;
}

// cgroup v2: "200000 100000" or "max 100000"; v1: two files, -1 for no limit.
double cpu_quota() {
  long long quota = 0, period = 0;
  std::ifstream v2("/sys/fs/cgroup/cpu.max");
  if (v2 >> quota >> period && period > 0) return double(quota) / double(period);
  std::ifstream v1_quota("/sys/fs/cgroup/cpu/cpu.cfs_quota_us");
  std::ifstream v1_period("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
  if (v1_quota >> quota && v1_period >> period && quota > 0 && period > 0)
    return double(quota) / double(period);
  return 0;
}

// Cores in the order in which workers take them.
std::vector<const CpuCore*> core_order(const CpuTopology& t, Placement placement) {
  std::vector<const CpuCore*> order;
  if (placement == Placement::compact) {
    for (const CpuCore& c : t.cores) order.push_back(&c);
    return order;
  }
  std::vector<std::vector<const CpuCore*>> by_node(t.nodes.size());
  for (const CpuCore& c : t.cores) by_node[static_cast<size_t>(c.node)].push_back(&c);
  for (size_t i = 0; order.size() < t.cores.size(); ++i)
    for (const auto& cores : by_node)
      if (i < cores.size()) order.push_back(cores[i]);
  return order;
}

}  // namespace

int CpuTopology::logical_cpus() const {
  size_t n = 0;
  for (const CpuCore& c : cores) n += c.cpus.size();
  return static_cast<int>(n);
}

int CpuTopology::default_workers() const {
  int workers = static_cast<int>(cores.size());
  if (quota > 0) workers = std::min(workers, static_cast<int>(std::ceil(quota)));
  return std::max(workers, 1);
}

CpuTopology read_topology() {
  CpuTopology t = convert(load(nullptr).get());
  t.quota = cpu_quota();
  if (t.memory_bytes == 0)
    t.memory_bytes =
        static_cast<size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return t;
}

CpuTopology synthetic_topology(const std::string& description) {
  return convert(load(description.c_str()).get());
}

std::vector<int> place_workers(const CpuTopology& topology, int workers, Placement placement) {
  std::vector<int> cpus;
  if (workers > topology.logical_cpus()) return cpus;
  const std::vector<const CpuCore*> order = core_order(topology, placement);
  for (size_t sibling = 0; static_cast<int>(cpus.size()) < workers; ++sibling)
    for (const CpuCore* c : order)
      if (sibling < c->cpus.size() && static_cast<int>(cpus.size()) < workers)
        cpus.push_back(c->cpus[sibling]);
  return cpus;
}

std::vector<int> nodes_of(const CpuTopology& topology, const std::vector<int>& cpus) {
  std::vector<int> nodes;
  for (const CpuCore& c : topology.cores)
    for (const int cpu : c.cpus)
      if (std::find(cpus.begin(), cpus.end(), cpu) != cpus.end())
        nodes.push_back(topology.nodes[static_cast<size_t>(c.node)].os_index);
  std::sort(nodes.begin(), nodes.end());
  nodes.erase(std::unique(nodes.begin(), nodes.end()), nodes.end());
  return nodes;
}

}  // namespace tokamak
