#include "backend/cpu/limits.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <memory>

#include "backend/cpu/huge_memory.h"
#include "backend/cpu/peak_loops.h"
#include "base/error.h"

namespace tokamak {
namespace {

using Clock = std::chrono::steady_clock;

// The loops of the best level in use; null: no such loop there.
PeakLoops loops_of(const CpuTarget& t) {
  PeakLoops p;
  p.f32 = peak_f32_sse2;
  if (t.has(Isa::avx2)) p.f32 = peak_f32_avx2, p.int8 = peak_int8_avx2;
  if (t.has(Isa::avx512)) p.f32 = peak_f32_avx512;
  if (t.has(Isa::avx512_vnni)) p.int8 = peak_int8_avx512_vnni;
  if (t.avx512_bf16) p.bf16 = peak_bf16_avx512_bf16;
  if (t.has(Isa::amx)) p.int8 = peak_int8_amx, p.bf16 = peak_bf16_amx;
  return p;
}

struct Job {
  ReadLoop read = nullptr;
  double (*compute)(int64_t) = nullptr;  // returns operations done
  std::byte* buffer = nullptr;
  size_t bytes = 0;
  double* done;  // per worker
};

void read_share(void* context, CpuExec& e) {
  const Job& j = *static_cast<const Job*>(context);
  const WorkRange r = share(static_cast<int64_t>(j.bytes), e.worker, e.workers, 4096);
  j.read(j.buffer + r.begin, static_cast<size_t>(r.end - r.begin));
  j.done[e.worker] = static_cast<double>(r.end - r.begin);
}

void touch_share(void* context, CpuExec& e) {
  const Job& j = *static_cast<const Job*>(context);
  const WorkRange r = share(static_cast<int64_t>(j.bytes), e.worker, e.workers, 4096);
  std::memset(j.buffer + r.begin, 1, static_cast<size_t>(r.end - r.begin));
}

struct Unmap {
  size_t bytes;
  void operator()(std::byte* p) const { unmap_memory(p, bytes); }
};

void compute_share(void* context, CpuExec& e) {
  const Job& j = *static_cast<const Job*>(context);
  j.done[e.worker] = j.compute(200'000);
}

// The best of a few rounds, in units per nanosecond.
double best_rate(WorkerPool& pool, WorkerPool::Job job, Job& j, std::vector<double>& done,
                 int rounds) {
  double best = 0;
  for (int round = 0; round < rounds; ++round) {
    std::fill(done.begin(), done.end(), 0.0);
    const auto begin = Clock::now();
    pool.run(job, &j);
    const double ns = std::chrono::duration<double, std::nano>(Clock::now() - begin).count();
    double sum = 0;
    for (const double d : done) sum += d;
    best = std::max(best, sum / ns);
  }
  return best;
}

}  // namespace

std::vector<ReadLoop> read_loops(Isa isa) {
  if (isa >= Isa::avx512) return {peak_read_avx512, peak_read_streams_avx512};
  if (isa >= Isa::avx2) return {peak_read_avx2, peak_read_streams_avx2};
  return {peak_read_sse2};
}

DeviceLimits measure_cpu_limits(WorkerPool& pool, const CpuTarget& target,
                                const std::vector<int>& nodes) {
  const PeakLoops loops = loops_of(target);
  std::vector<double> done(static_cast<size_t>(pool.workers()));
  // As large weights lie: on huge pages, far beyond the last cache, and touched (an untouched page
  // reads as the one zero page), each part by the worker that reads it.
  const size_t bytes = std::clamp<size_t>(8 * target.l3_bytes, 512u << 20, 2048u << 20);
  const std::unique_ptr<std::byte[], Unmap> buffer(map_memory(bytes, nodes), Unmap{bytes});
  if (buffer == nullptr) fail("cannot allocate {} MiB to measure memory with", bytes >> 20);
  Job j{nullptr, nullptr, buffer.get(), bytes, done.data()};
  pool.run(touch_share, &j);

  DeviceLimits limits;
  for (int round = 0; round < 9; ++round)
    for (const ReadLoop loop : read_loops(target.isa)) {
      j.read = loop;
      limits.read_gb_s = std::max(limits.read_gb_s, best_rate(pool, read_share, j, done, 1));
    }
  const auto peak = [&](double (*compute)(int64_t)) {
    j.compute = compute;
    return compute == nullptr ? 0.0 : best_rate(pool, compute_share, j, done, 30);
  };
  limits.f32_gflop_s = peak(loops.f32);
  limits.bf16_gflop_s = peak(loops.bf16);
  limits.int8_gop_s = peak(loops.int8);
  return limits;
}

}  // namespace tokamak
