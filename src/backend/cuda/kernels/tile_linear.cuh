// The kernel of tile_linear.h. One warp copies stages of 128 bytes of every row ahead into a ring,
// two groups of four warps multiply 64 tokens each by all outputs of the tile. Two blocks make a
// cluster: their tiles are of the same outputs, and each copies half of the weights for both. A
// cluster takes tile after tile, tokens first, so that weights in the second cache serve all.
#pragma once
#include "backend/cuda/kernels/activate.cuh"
#include "backend/cuda/kernels/bulk_copy.cuh"
#include "backend/cuda/kernels/cluster.cuh"
#include "backend/cuda/kernels/launch.cuh"
#include "backend/cuda/kernels/tile_linear.h"
#include "backend/cuda/kernels/vector.cuh"
#include "backend/cuda/kernels/warp_groups.cuh"
#include "backend/cuda/kernels/wgmma.cuh"

namespace tokamak::cuda {

constexpr int kTileStages = 4;
constexpr int kTileBoxBytes = kTileBox * kTileStepBytes;
constexpr int kTileStageBytes = 3 * kTileBoxBytes;  // x, then 256 rows of weights
constexpr int kTileRoomBytes = 8 * 16 * 64 * sizeof(float);
constexpr int kTileSharedBytes = kTileStages * kTileStageBytes + kTileRoomBytes + 1024;
constexpr int kTileThreads = 3 * 128;
constexpr int kTileGroup = 8;  // clusters' rows of tokens that go through all outputs together

#if defined(TOKAMAK_HAS_BULK_COPY) && defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define TOKAMAK_TILES 1

// Where a cluster's tiles lie: pairs of 128 tokens, strips of outputs.
struct TileWalk {
  int pairs, strips, at, step;
  __device__ TileWalk(const TileArg& a) {
    pairs = static_cast<int>((a.tokens + 2 * kTileBox - 1) / (2 * kTileBox));
    const int width = a.glu ? kTileBox : 2 * kTileBox;
    strips = static_cast<int>((a.n + width - 1) / width);
    at = blockIdx.x / 2;
    step = gridDim.x / 2;
  }
  __device__ bool more() const { return at < pairs * strips; }
  __device__ void next() { at += step; }
  __device__ int first_pair() const { return at / (kTileGroup * strips) * kTileGroup; }
  __device__ int group() const { return min(kTileGroup, pairs - first_pair()); }
  __device__ int pair() const { return first_pair() + (at - first_pair() * strips) % group(); }
  __device__ int strip() const { return (at - first_pair() * strips) / group(); }
};

template <bool GLU>
__device__ void copy_tiles(const TileArg& a, const StageRing& ring, int steps, int step_columns) {
  const int rank = static_cast<int>(cluster_rank());
  const CUtensorMap* w = GLU && rank == 1 ? &a.w_b : &a.w;
  wait_for_previous();
  StagePlace place;
  for (TileWalk walk(a); walk.more(); walk.next()) {
    const int token = (2 * walk.pair() + rank) * kTileBox;
    const int row = GLU ? walk.strip() * kTileBox : (2 * walk.strip() + rank) * kTileBox;
    for (int step = 0; step < steps; ++step, place.next(kTileStages)) {
      wait_phase(&ring.empty[place.stage], place.parity ^ 1);
      uint64_t* full = &ring.full[place.stage];
      arrive_expecting(full, kTileStageBytes);
      char* stage = ring.data + place.stage * kTileStageBytes;
      copy_box(stage, &a.x, step * step_columns, token, full);
      copy_box_to_both(stage + (1 + rank) * kTileBoxBytes, w, step * step_columns, row, full);
    }
  }
}

template <MapKind ACTIVATION>
__device__ inline float activate_gate(float v) {
  static_assert(ACTIVATION == MapKind::copy || ACTIVATION == MapKind::silu ||
                ACTIVATION == MapKind::gelu_tanh);
  if constexpr (ACTIVATION == MapKind::silu) return quick_silu(v);
  if constexpr (ACTIVATION == MapKind::gelu_tanh) return quick_gelu_tanh(v);
  return v;
}

// Eight neighbours of a row; `vectors`: at a multiple of 16 bytes.
__device__ inline void load_eight(const RowsArg& x, bool vectors, int64_t row, int64_t column,
                                  float (&v)[8]) {
  if (vectors) return widen8(x.dtype, load8(x.dtype, vector_at(x, row, column / 8)), v);
#pragma unroll
  for (int i = 0; i < 8; ++i) v[i] = load_activation(x, row, column + i);
}
__device__ inline void store_eight(const RowsArg& y, bool vectors, int64_t row, int64_t column,
                                   const float (&v)[8]) {
  if (vectors) return store8(y.dtype, vector_at(y, row, column / 8), narrow8(y.dtype, v));
#pragma unroll
  for (int i = 0; i < 8; ++i) store_activation(y, row, column + i, v[i]);
}

// A warp's 16 tokens from `token` on: sums to where neighbours lie together, 64 outputs at a time,
// then on in whole rows. `room`: the warp's own, [16][64], units of four swapped by the row.
template <typename E, bool GLU, MapKind ACTIVATION>
__device__ void finish_tile(const TileArg& a, float (&c)[32][4], float* room, int64_t token,
                            int64_t column) {
  constexpr bool kCodes = __is_same(E, Codes);
  const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
  float row_scale[2] = {1, 1};
  if constexpr (kCodes) {
    for (int h = 0; h < 2; ++h)
      row_scale[h] = token + g + 8 * h < a.tokens ? a.row_scales[token + g + 8 * h] : 0;
  }
#pragma unroll
  for (int chunk = 0; chunk < (GLU ? 2 : 4); ++chunk) {
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const int at = chunk * 8 + i;
      float2 scale = {1, 1}, scale_b = {1, 1};
      if constexpr (kCodes) {
        const int64_t n = column + 8 * at + 2 * t;
        if (n < a.n) scale = *reinterpret_cast<const float2*>(a.scales + n);
        if (GLU && n < a.n) scale_b = *reinterpret_cast<const float2*>(a.scales_b + n);
      }
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        float2 v = {c[at][2 * h], c[at][2 * h + 1]};
        if constexpr (kCodes) v.x *= row_scale[h] * scale.x, v.y *= row_scale[h] * scale.y;
        if constexpr (GLU) {
          float2 gate = {c[at + 16][2 * h], c[at + 16][2 * h + 1]};
          if constexpr (kCodes)
            gate.x *= row_scale[h] * scale_b.x, gate.y *= row_scale[h] * scale_b.y;
          v.x = activate_gate<ACTIVATION>(v.x) * gate.x;
          v.y = activate_gate<ACTIVATION>(v.y) * gate.y;
        }
        const int row = g + 8 * h, unit = (2 * i + t / 2) ^ (row & 7);
        *reinterpret_cast<float2*>(room + row * 64 + unit * 4 + t % 2 * 2) = v;
      }
    }
    __syncwarp();
    const int64_t n = column + 64 * chunk + lane % 8 * 8;
    float bias[8] = {};
    if (!GLU && a.bias.data && n < a.n) load_eight(a.bias, a.vectors, 0, n, bias);
#pragma unroll 2
    for (int pass = 0; pass < 4; ++pass) {
      const int row = lane / 8 + 4 * pass;
      float v[8], more[8] = {};
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int unit = (lane % 8 * 2 + i) ^ (row & 7);
        const float4 q = *reinterpret_cast<const float4*>(room + row * 64 + unit * 4);
        v[4 * i] = q.x, v[4 * i + 1] = q.y, v[4 * i + 2] = q.z, v[4 * i + 3] = q.w;
      }
      if (n >= a.n || token + row >= a.tokens) continue;
      if (!GLU && a.residual.data) load_eight(a.residual, a.vectors, token + row, n, more);
#pragma unroll
      for (int i = 0; i < 8; ++i) v[i] += bias[i] + more[i];
      store_eight(a.y, a.vectors, token + row, n, v);
    }
    __syncwarp();
  }
}

template <typename E, bool GLU, MapKind ACTIVATION>
__device__ void multiply_tiles(const TileArg& a, const StageRing& ring, float* room, int steps) {
  const int group = threadIdx.x / 128 - 1;  // of 64 tokens
  const int warp = threadIdx.x / 32 - 4;
  room += warp * 16 * 64;
  const auto hand_back = [&](int stage) {
    if (threadIdx.x % 128 < 2) arrive_at(&ring.empty[stage], threadIdx.x % 128);
  };
  wait_for_previous();
  StagePlace place;
  float c[32][4];
  for (TileWalk walk(a); walk.more(); walk.next()) {
    int before = 0;
    for (int step = 0; step < steps; ++step) {
      wait_phase(&ring.full[place.stage], place.parity);
      const uint32_t stage = shared_address(ring.data + place.stage * kTileStageBytes);
      const uint64_t x = matrix_descriptor(stage + group * kTileBoxBytes / 2);
      const uint64_t w = matrix_descriptor(stage + kTileBoxBytes);
      wgmma_hold(c);
      wgmma_begin();
#pragma unroll
      for (int i = 0; i < 4; ++i) wgmma_wide<E>(c, x + 2 * i, w + 2 * i, step > 0 || i > 0);
      wgmma_commit();
      if (step > 0) {
        wgmma_wait<1>();
        hand_back(before);
      }
      before = place.stage;
      place.next(kTileStages);
    }
    wgmma_wait<0>();
    wgmma_hold(c);
    hand_back(before);
    const int64_t token = (2 * int64_t{walk.pair()} + cluster_rank()) * kTileBox + 16 * warp;
    const int64_t column = int64_t{walk.strip()} * (GLU ? kTileBox : 2 * kTileBox);
    finish_tile<E, GLU, ACTIVATION>(a, c, room, token, column);
  }
}
#endif

template <typename E, bool GLU, MapKind ACTIVATION>
__global__ __launch_bounds__(kTileThreads, 1) void tile_kernel(const __grid_constant__ TileArg a) {
#ifdef TOKAMAK_TILES
  extern __shared__ char dynamic[];
  __shared__ uint64_t full[kTileStages], empty[kTileStages];
  // Both blocks of the cluster must have the same place for a stage.
  char* data = dynamic + (1024 - shared_address(dynamic) % 1024) % 1024;
  const StageRing ring{data, full, empty};
  constexpr int kColumns = kTileStepBytes / (__is_same(E, Codes) ? 1 : 2);
  const int steps = static_cast<int>((a.k + kColumns - 1) / kColumns);
  if (threadIdx.x == 0) {
    for (int i = 0; i < kTileStages; ++i) {
      barrier_init(&full[i], 1);
      barrier_init(&empty[i], 4);  // two groups of two blocks
    }
    barrier_init_fence();
  }
  cluster_sync();
  let_next_start();
  if (threadIdx.x < 128) {
    fewer_registers<40>();
    if (threadIdx.x == 0) copy_tiles<GLU>(a, ring, steps, kColumns);
  } else {
    more_registers<232>();
    multiply_tiles<E, GLU, ACTIVATION>(
        a, ring, reinterpret_cast<float*>(data + kTileStages * kTileStageBytes), steps);
  }
  __syncwarp();
  cluster_sync();  // the other block may still report to this one
#endif
}

template <typename E, bool GLU, MapKind ACTIVATION = MapKind::copy>
void tile_launch(const TileArg& a, cudaStream_t stream) {
  const auto kernel = tile_kernel<E, GLU, ACTIVATION>;
  cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kTileSharedBytes);
  launch_clustered(kernel, dim3(static_cast<unsigned>(a.multiprocessors / 2 * 2)),
                   dim3(kTileThreads), kTileSharedBytes, stream, dim3(2), a);
}

// The kernels of one dtype.
template <typename E>
void tile_linear_of(const TileArg& a, cudaStream_t stream) {
  if (!a.glu) return tile_launch<E, false>(a, stream);
  if (a.activation == MapKind::silu) return tile_launch<E, true, MapKind::silu>(a, stream);
  tile_launch<E, true, MapKind::gelu_tanh>(a, stream);
}

}  // namespace tokamak::cuda
