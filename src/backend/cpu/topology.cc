#include "backend/cpu/topology.h"

#include <fmt/core.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <set>
#include <string>

namespace tokamak {
namespace {

std::string first_line(const std::string& path) {
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  return line;
}

std::vector<int> affinity_mask() {
  std::vector<int> cpus;
  for (int size = CPU_SETSIZE; size <= (1 << 20); size *= 2) {
    cpu_set_t* set = CPU_ALLOC(static_cast<size_t>(size));
    const size_t bytes = CPU_ALLOC_SIZE(static_cast<size_t>(size));
    const bool ok = sched_getaffinity(0, bytes, set) == 0;
    for (int c = 0; ok && c < size; ++c)
      if (CPU_ISSET_S(static_cast<size_t>(c), bytes, set)) cpus.push_back(c);
    CPU_FREE(set);
    if (ok) break;
  }
  if (cpus.empty()) cpus.push_back(0);
  return cpus;
}

// One CPU for each distinct list of siblings; machines that tell no siblings count every CPU.
std::vector<int> one_per_core(const std::vector<int>& allowed) {
  std::set<std::string> seen;
  std::vector<int> cores;
  for (const int cpu : allowed) {
    const std::string siblings =
        first_line(fmt::format("/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list", cpu));
    if (siblings.empty() || seen.insert(siblings).second) cores.push_back(cpu);
  }
  return cores;
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

// "32K", "2048K", "32M"
size_t parse_size(const std::string& text) {
  size_t value = 0, i = 0;
  while (i < text.size() && text[i] >= '0' && text[i] <= '9')
    value = value * 10 + (text[i++] - '0');
  if (i < text.size() && text[i] == 'K') value <<= 10;
  if (i < text.size() && text[i] == 'M') value <<= 20;
  return value;
}

void read_caches(CpuTopology& t) {
  for (int i = 0; i < 8; ++i) {
    const std::string dir =
        fmt::format("/sys/devices/system/cpu/cpu{}/cache/index{}/", t.allowed[0], i);
    const std::string level = first_line(dir + "level"), type = first_line(dir + "type");
    const size_t bytes = parse_size(first_line(dir + "size"));
    if (level == "1" && type == "Data") t.l1d_bytes = bytes;
    if (level == "2") t.l2_bytes = bytes;
    if (level == "3") t.l3_bytes = bytes;
  }
}

}  // namespace

int CpuTopology::default_workers() const {
  int workers = static_cast<int>(cores.size());
  if (quota > 0) workers = std::min(workers, static_cast<int>(std::ceil(quota)));
  return std::max(workers, 1);
}

CpuTopology read_topology() {
  CpuTopology t;
  t.allowed = affinity_mask();
  t.cores = one_per_core(t.allowed);
  t.quota = cpu_quota();
  read_caches(t);
  t.memory_bytes =
      static_cast<size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return t;
}

}  // namespace tokamak
