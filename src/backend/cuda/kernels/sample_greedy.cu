// A block looks at 4096 logits; the last of a row's blocks chooses.
#include <cuda_runtime.h>

#include "backend/cuda/kernels/launch.cuh"
#include "backend/cuda/kernels/sample.cuh"
#include "backend/cuda/kernels/sample.h"

namespace tokamak::cuda {
namespace {

constexpr int kThreads = 256, kEach = 16, kPerBlock = kThreads * kEach;

int64_t blocks_of(int64_t vocab) { return (vocab + kPerBlock - 1) / kPerBlock; }

// Of this thread's part of [begin, end). All loads go out at once; threads beyond the end look at
// the last again.
__device__ Rank largest_of(const float* x, int64_t begin, int64_t end) {
  Rank best = 0;
  const auto size = static_cast<int>(end - begin);
  x += begin;
  const auto first = static_cast<uint32_t>(begin);
  if (size % 4 == 0 && reinterpret_cast<uintptr_t>(x) % 16 == 0) {
    float4 v[kEach / 4];
#pragma unroll
    for (int i = 0; i < kEach / 4; ++i)
      v[i] = reinterpret_cast<const float4*>(
          x)[min(i * kThreads + static_cast<int>(threadIdx.x), size / 4 - 1)];
#pragma unroll
    for (int i = 0; i < kEach / 4; ++i) {
      const uint32_t id =
          first + 4 * min(i * kThreads + static_cast<int>(threadIdx.x), size / 4 - 1);
      best = larger(best, larger(larger(rank_of(v[i].x, id), rank_of(v[i].y, id + 1)),
                                 larger(rank_of(v[i].z, id + 2), rank_of(v[i].w, id + 3))));
    }
    return best;
  }
  float v[kEach];
#pragma unroll
  for (int i = 0; i < kEach; ++i)
    v[i] = x[min(i * kThreads + static_cast<int>(threadIdx.x), size - 1)];
#pragma unroll
  for (int i = 0; i < kEach; ++i)
    best = larger(
        best, rank_of(v[i], first + min(i * kThreads + static_cast<int>(threadIdx.x), size - 1)));
  return best;
}

__device__ int32_t choice_of(Rank best) {
  if (best == kNanRank) return kNanLogits;
  const float score = score_of(best);
  if (score == INFINITY) return kInfiniteLogits;
  return score == -INFINITY ? kNothingLeft : id_of(best);
}

__global__ __launch_bounds__(kThreads) void greedy_kernel(DecodeRows d, Rank* partial,
                                                          unsigned* tickets) {
  __shared__ Rank shared[kThreads / 32];
  wait_for_previous();
  let_next_start();
  const int row = blockIdx.y, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int64_t begin = int64_t{blockIdx.x} * kPerBlock;
  const int64_t end = begin + kPerBlock < d.vocab ? begin + kPerBlock : d.vocab;
  Rank best = warp_largest(largest_of(d.logits + row * d.vocab, begin, end));
  if (lane == 0) shared[warp] = best;
  __syncthreads();
  if (warp != 0) return;
  best = warp_largest(lane < kThreads / 32 ? shared[lane] : 0);
  Rank* parts = partial + int64_t{row} * gridDim.x;
  bool last = false;
  if (lane == 0) {
    parts[blockIdx.x] = best;
    __threadfence();
    last = atomicInc(tickets + row, gridDim.x - 1) == gridDim.x - 1;  // back to 0 by the last
    __threadfence();
  }
  if (!__shfl_sync(0xffffffffu, last, 0)) return;
  best = 0;
  for (unsigned i = lane; i < gridDim.x; i += 32) best = larger(best, __ldcg(parts + i));
  best = warp_largest(best);
  if (lane == 0) feed_back(d, row, choice_of(best));
}

__global__ __launch_bounds__(kThreads) void feed_kernel(FedTokens t) {
  wait_for_previous();
  let_next_start();
  const int i = static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x);
  if (i < t.count) t.token_ids[t.to[i]] = max(t.chosen[t.from[i]], 0);
}

}  // namespace

void feed_tokens(const FedTokens& t, cudaStream_t stream) {
  if (t.count == 0) return;
  const auto blocks = static_cast<unsigned>((t.count + kThreads - 1) / kThreads);
  launch_overlapped(feed_kernel, dim3(blocks), dim3(kThreads), 0, stream, t);
}

size_t greedy_partial_bytes(int32_t rows, int64_t vocab) {
  return sizeof(Rank) * static_cast<size_t>(rows * blocks_of(vocab));
}

void choose_greedy(const DecodeRows& d, uint64_t* partial, unsigned* tickets, cudaStream_t stream) {
  if (d.rows == 0) return;
  const dim3 grid(static_cast<unsigned>(blocks_of(d.vocab)), static_cast<unsigned>(d.rows));
  launch_overlapped(greedy_kernel, grid, dim3(kThreads), 0, stream, d,
                    reinterpret_cast<Rank*>(partial), tickets);
}

}  // namespace tokamak::cuda
