#include "backend/cpu/cpu_mask.h"

#include <sched.h>

#include <algorithm>
#include <memory>

namespace tokamak {
namespace {

struct Mask {
  explicit Mask(size_t cpus) : bytes(CPU_ALLOC_SIZE(cpus)), set(CPU_ALLOC(cpus)) {
    CPU_ZERO_S(bytes, set.get());
  }
  struct Free {
    void operator()(cpu_set_t* s) const { CPU_FREE(s); }
  };
  const size_t bytes;
  const std::unique_ptr<cpu_set_t, Free> set;
};

}  // namespace

std::vector<int> thread_cpus() {
  std::vector<int> cpus;
  for (size_t size = CPU_SETSIZE; size <= (1u << 20); size *= 2) {
    const Mask mask(size);
    if (sched_getaffinity(0, mask.bytes, mask.set.get()) != 0) continue;  // the kernel's is larger
    for (size_t c = 0; c < size; ++c)
      if (CPU_ISSET_S(c, mask.bytes, mask.set.get())) cpus.push_back(static_cast<int>(c));
    break;
  }
  return cpus;
}

void set_thread_cpus(const std::vector<int>& cpus) {
  if (cpus.empty()) return;
  const Mask mask(static_cast<size_t>(*std::max_element(cpus.begin(), cpus.end())) + 1);
  for (const int c : cpus) CPU_SET_S(static_cast<size_t>(c), mask.bytes, mask.set.get());
  sched_setaffinity(0, mask.bytes, mask.set.get());
}

void move_thread(int cpu) {
  constexpr size_t kCpus = 8192;  // more than Linux has on x86
  cpu_set_t own[kCpus / CPU_SETSIZE], one[kCpus / CPU_SETSIZE];
  if (cpu < 0 || static_cast<size_t>(cpu) >= kCpus) return;
  CPU_ZERO_S(sizeof(own), own);
  if (sched_getaffinity(0, sizeof(own), own) != 0) return;
  if (!CPU_ISSET_S(static_cast<size_t>(cpu), sizeof(own), own)) return;
  CPU_ZERO_S(sizeof(one), one);
  CPU_SET_S(static_cast<size_t>(cpu), sizeof(one), one);
  sched_setaffinity(0, sizeof(one), one);
  sched_setaffinity(0, sizeof(own), own);
}

}  // namespace tokamak
