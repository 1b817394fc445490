// How fast each core is just now: all at once, for a quarter of a second, best level's arithmetic
// in registers. A virtual machine's core may share the real one with a busy neighbour. Prints JSON:
// CPU number → 10⁹ operations a second, on average.
#include <fmt/core.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "backend/cpu/cpu_mask.h"
#include "backend/cpu/isa.h"
#include "backend/cpu/peak_loops.h"

namespace {

using Loop = double (*)(int64_t);
using Clock = std::chrono::steady_clock;

Loop loop_of(tokamak::Isa isa) {
  if (isa >= tokamak::Isa::amx) return tokamak::peak_bf16_amx;
  if (isa >= tokamak::Isa::avx512) return tokamak::peak_f32_avx512;
  return isa >= tokamak::Isa::avx2 ? tokamak::peak_f32_avx2 : tokamak::peak_f32_sse2;
}

double average(Loop loop, int cpu, std::atomic<size_t>& waiting, size_t all) {
  tokamak::set_thread_cpus({cpu});
  loop(100);
  for (++waiting; waiting < all;) std::this_thread::yield();
  double operations = 0, seconds = 0;
  for (const auto start = Clock::now(); seconds < 0.25;) {
    operations += loop(2000);
    seconds = std::chrono::duration<double>(Clock::now() - start).count();
  }
  return operations / seconds / 1e9;
}

}  // namespace

int main() {
  const Loop loop = loop_of(tokamak::isa_report().best());
  const std::vector<int> cpus = tokamak::thread_cpus();
  std::vector<double> rates(cpus.size());
  std::atomic<size_t> waiting{0};
  std::vector<std::thread> threads;
  for (size_t i = 0; i < cpus.size(); ++i)
    threads.emplace_back([&, i] { rates[i] = average(loop, cpus[i], waiting, cpus.size()); });
  for (std::thread& t : threads) t.join();
  std::string out;
  for (size_t i = 0; i < cpus.size(); ++i)
    out += fmt::format("{}\"{}\": {:.1f}", i ? ", " : "", cpus[i], rates[i]);
  fmt::print("{{{}}}\n", out);
}
