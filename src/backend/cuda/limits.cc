#include "backend/cuda/limits.h"

#include <algorithm>

#include "backend/cuda/check.h"
#include "backend/cuda/kernels/probe.h"

namespace tokamak {
namespace {

constexpr int kRounds = 6, kSteps = 4096;
constexpr size_t kReadBytes = size_t{2} << 30;

// Least milliseconds of a few rounds.
template <typename F>
double best_ms(cudaStream_t stream, F f) {
  cudaEvent_t begin, end;
  TOKAMAK_CUDA(cudaEventCreate(&begin));
  TOKAMAK_CUDA(cudaEventCreate(&end));
  float best = 1e30f;
  for (int i = 0; i < kRounds; ++i) {
    TOKAMAK_CUDA(cudaEventRecord(begin, stream));
    f();
    TOKAMAK_CUDA(cudaGetLastError());
    TOKAMAK_CUDA(cudaEventRecord(end, stream));
    TOKAMAK_CUDA(cudaEventSynchronize(end));
    float ms = 0;
    TOKAMAK_CUDA(cudaEventElapsedTime(&ms, begin, end));
    best = std::min(best, ms);
  }
  cudaEventDestroy(begin);
  cudaEventDestroy(end);
  return static_cast<double>(best);
}

}  // namespace

DeviceLimits measure_cuda_limits(cudaStream_t stream, const CudaTarget& target) {
  void* memory = nullptr;
  TOKAMAK_CUDA(cudaMalloc(&memory, kReadBytes + 64));
  TOKAMAK_CUDA(cudaMemsetAsync(memory, 0x5a, kReadBytes + 64, stream));
  void* sink = static_cast<char*>(memory) + kReadBytes;
  const int blocks = 4 * target.multiprocessors;
  DeviceLimits l;
  const double read =
      best_ms(stream, [&] { cuda::probe_read(memory, kReadBytes, blocks, sink, stream); });
  const double f32 = best_ms(stream, [&] { cuda::probe_f32(blocks, kSteps, sink, stream); });
  const double bf16 = best_ms(stream, [&] { cuda::probe_bf16(blocks, kSteps, sink, stream); });
  TOKAMAK_CUDA(cudaFree(memory));
  const double threads = static_cast<double>(blocks) * cuda::kProbeThreads;
  l.read_gb_s = static_cast<double>(kReadBytes) / read / 1e6;
  l.f32_gflop_s = threads * 32 * kSteps / f32 / 1e6;
  l.bf16_gflop_s = threads / 32 * 8 * 2 * 16 * 16 * 16 * kSteps / bf16 / 1e6;
  return l;
}

}  // namespace tokamak
