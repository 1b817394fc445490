// What the streaming kernels for FP8 weights share: a block's part of the work, the ring through
// which it goes, the outputs. A block's rows go through a ring in shared memory, some 64 columns at
// a time; one thread copies ahead, weights even before the kernel ahead has ended; eight warps
// multiply. At the end their sums meet in shared memory, always in the same order.
#pragma once
#include "backend/cuda/kernels/activate.cuh"
#include "backend/cuda/kernels/any.cuh"
#include "backend/cuda/kernels/bulk_copy.cuh"
#include "backend/cuda/kernels/f8_format.h"
#include "backend/cuda/kernels/f8_stream.h"
#include "backend/cuda/kernels/launch.cuh"

namespace tokamak::cuda {

constexpr int kF8Warps = 8, kF8Threads = kF8Warps * 32, kF8MaxStages = 12;
// What is left has room for a block of decoding attention.
constexpr int kF8RingBytes = 120 << 10, kF8Registers = 112;

#ifdef TOKAMAK_HAS_BULK_COPY

__device__ inline void prefetch_box3(const CUtensorMap* map, int row, int unit) {
  asm volatile("cp.async.bulk.prefetch.tensor.3d.L2.global.tile [%0, {%1, %2, %3}];" ::"l"(map),
               "r"(0), "r"(row), "r"(unit)
               : "memory");
}

// What a block has to do, and how a stage of its ring is made up: x by units, then for each box of
// units codes [units][rows][columns], of linear_glu those of each weight.
struct F8Share {
  int first, groups;  // of rows
  int units, steps;   // in a stage; stages in all
  int turn;           // where the columns begin: not in all blocks at the same place
  int unit_bytes, x_bytes, stage_bytes;
  __device__ F8Share(const F8StreamArg& a, int token_bytes) {
    const int64_t all = a.share.groups;
    first = static_cast<int>(all * blockIdx.x / a.share.blocks);
    groups = static_cast<int>(all * (blockIdx.x + 1) / a.share.blocks) - first;
    units = a.share.units;
    steps = (static_cast<int>(a.k / a.share.columns) + units - 1) / units;
    turn = static_cast<int>(int64_t{steps} * blockIdx.x / a.share.blocks);
    unit_bytes = groups * 16 * a.share.columns;
    x_bytes = units * token_bytes;
    stage_bytes = (x_bytes + units * a.share.most * 16 * a.share.columns + 1023) / 1024 * 1024;
  }
  __device__ int unit_of(int step) const {
    const int place = step + turn;
    return (place < steps ? place : place - steps) * units;
  }
};

// f(offset among the stage's codes, map, row, unit within the stage)
template <typename F>
__device__ inline void each_box(const F8StreamArg& a, const F8Share& s, F f) {
  const int which = s.groups == a.share.most ? 0 : 1, row = s.first * (a.glu ? 8 : 16);
  for (int u = 0; u < s.units; u += a.share.box_units) {
    f(u * s.unit_bytes, &a.w[which], row, u);
    if (a.glu) f(u * s.unit_bytes + a.share.box_units * s.unit_bytes / 2, &a.w_b[which], row, u);
  }
}

// The copying thread.
__device__ inline void copy_stages(const F8StreamArg& a, const F8Share& s, char* ring,
                                   uint64_t* full, uint64_t* empty) {
  const int x_units = a.x_scales ? 1 : a.share.columns / F8Format::kColumns;
  const auto copy_w = [&](int stage, int step) {
    char* to = ring + stage * s.stage_bytes + s.x_bytes;
    arrive_expecting(&full[stage], s.x_bytes + s.units * s.unit_bytes);
    each_box(a, s, [&](int offset, const CUtensorMap* map, int row, int unit) {
      copy_box3(to + offset, map, row, s.unit_of(step) + unit, &full[stage]);
    });
  };
  const auto copy_x = [&](int stage, int step) {
    copy_box3(ring + stage * s.stage_bytes, &a.x, 0, s.unit_of(step) * x_units, &full[stage]);
  };
  const int before = s.steps < a.stages ? s.steps : a.stages;
  for (int i = 0; i < before; ++i) copy_w(i, i);
  for (int i = before; i < s.steps && i < before + a.ahead; ++i)
    each_box(a, s, [&](int, const CUtensorMap* map, int row, int unit) {
      prefetch_box3(map, row, s.unit_of(i) + unit);
    });
  prefetch_map(&a.x);
  wait_for_previous();
  for (int i = 0; i < before; ++i) copy_x(i, i);
  int stage = 0;
  uint32_t parity = 0;
  for (int i = before; i < s.steps; ++i) {
    wait_phase(&empty[stage], parity);
    copy_w(stage, i);
    copy_x(stage, i);
    if (++stage == a.stages) stage = 0, parity ^= 1;
  }
}

__device__ inline void meet_computing() { asm volatile("bar.sync 1, 256;" ::: "memory"); }

// The scales of the block's rows, in the order of its sums, into shared memory: ahead of time.
__device__ inline void load_scales(const F8StreamArg& a, const F8Share& s, float* scales) {
  const int rows = s.groups * 16, outs = a.glu ? rows / 2 : rows;
  for (int r = threadIdx.x; r < rows; r += kF8Threads) {
    const int64_t n = int64_t{s.first} * (a.glu ? 8 : 16) + r % outs;
    scales[r] = n < a.n ? __ldg((r < outs ? a.scales : a.scales_b) + n) : 0.f;
  }
}

// The sums [parts][tokens][rows] become outputs; of linear_glu the first half of the rows is of the
// first weight.
template <int kTokens>
__device__ void finish(const F8StreamArg& a, const F8Share& s, const float* sums, int parts,
                       const float* scales) {
  const int rows = s.groups * 16, outs = a.glu ? rows / 2 : rows;
  const int64_t first = int64_t{s.first} * (a.glu ? 8 : 16);
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  // A warp takes every eighth token, or of few tokens every few rows of all.
  const int warps = a.tokens < kF8Warps ? kF8Warps / a.tokens : 1;  // of a token
  for (int token = warp / warps; token < a.tokens; token += kF8Warps / warps) {
    const float x_scale = a.x_scales ? a.x_scales[token] : 1.f;
    for (int r = warp % warps * 32 + lane; r < outs; r += 32 * warps) {
      const int64_t n = first + r;
      if (n >= a.n) break;
      const auto sum = [&](int row) {
        float v = 0;
        for (int p = 0; p < parts; ++p) v += sums[(p * kTokens + token) * rows + row];
        return v;
      };
      float v = sum(r) * (x_scale * scales[r]);
      if (a.bias.data) v += at(a.bias, 0, n);
      v = apply(a.activation, v);
      if (a.glu) {
        float b = sum(outs + r) * (x_scale * scales[outs + r]);
        if (a.bias_b.data) b += at(a.bias_b, 0, n);
        v *= b;
      }
      if (a.residual.data) v += at(a.residual, token, n);
      put(a.y, token, n, v);
    }
  }
}

// Rings, barriers and roles of a kernel; compute(share, ring, full, empty, scales) is what the
// eight warps do.
template <typename F>
__device__ inline void run_stream(const F8StreamArg& a, int token_bytes, F compute) {
  extern __shared__ char dynamic[];
  __shared__ uint64_t full[kF8MaxStages], empty[kF8MaxStages];
  __shared__ float scales[kF8MaxGroups * 16];
  char* ring = dynamic + (1024 - shared_address(dynamic) % 1024) % 1024;
  const F8Share share(a, token_bytes);
  if (threadIdx.x == kF8Threads) {
    for (int i = 0; i < a.stages; ++i) {
      barrier_init(&full[i], 1);
      barrier_init(&empty[i], kF8Warps);
    }
    barrier_init_fence();
  }
  __syncthreads();
  let_next_start();
  if (threadIdx.x < kF8Threads) {
    load_scales(a, share, scales);
    wait_for_previous();
    compute(share, ring, full, empty, scales);
  } else if (threadIdx.x == kF8Threads) {
    copy_stages(a, share, ring, full, empty);
  } else {
    wait_for_previous();
  }
}

#endif

// token_bytes: of the tokens' part of a unit. parts: of sums at the end. more_bytes: that may be
// read, and mean nothing, behind the ring.
inline void launch_stream(void (*kernel)(F8StreamArg), F8StreamArg a, int tokens, int token_bytes,
                          int parts, int more_bytes, int ahead_bytes, cudaStream_t stream) {
  const int w_bytes = a.share.units * a.share.most * 16 * a.share.columns;
  const int stage = (a.share.units * token_bytes + w_bytes + 1023) / 1024 * 1024;
  const int stages = kF8RingBytes / stage;
  a.stages = stages < 2 ? 2 : stages < kF8MaxStages ? stages : kF8MaxStages;
  a.ahead = ahead_bytes / w_bytes;
  const int sums = parts * tokens * a.share.most * 16 * static_cast<int>(sizeof(float));
  const int ring = a.stages * stage + more_bytes > sums ? a.stages * stage + more_bytes : sums;
  const int shared = ring + 1024 > kAloneBytes ? ring + 1024 : kAloneBytes;
  cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared);
  launch_overlapped(kernel, dim3(static_cast<unsigned>(a.share.blocks)), dim3(kF8Threads + 32),
                    static_cast<size_t>(shared), stream, a);
}

}  // namespace tokamak::cuda
