// The streaming kernel. The product is cut into steps of 128 rows of weights by 64 (16-bit
// weights), 128 (codes of 8 bits) or 256 columns; the steps of all row tiles, one after another,
// are shared out evenly over the blocks, so that none has more than one step more than another. One
// thread copies the steps ahead into a ring, weights even before the kernel ahead has ended. Eight
// warps take 16 rows each; where codes must become numbers, two teams of eight take half of every
// step's columns each. Where a tile's steps fall to several blocks, one of them adds the sums
// of all in order: the result depends neither on the timing nor on the number of tokens.
#pragma once
#include "backend/cuda/kernels/activate.cuh"
#include "backend/cuda/kernels/bulk_copy.cuh"
#include "backend/cuda/kernels/launch.cuh"
#include "backend/cuda/kernels/stream_codes.cuh"
#include "backend/cuda/kernels/stream_linear.h"
#include "backend/cuda/kernels/vector.cuh"

namespace tokamak::cuda {

constexpr int kStreamMaxStages = 12;

#if defined(TOKAMAK_HAS_BULK_COPY) && defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define TOKAMAK_STREAM 1

// A block's share of the steps, and a walk over it.
struct StreamWalk {
  int begin, end, steps;  // steps per tile
  int tile, at;           // the current step: its tile, its place there
  __device__ StreamWalk(int tiles, int steps_per_tile, int block, int blocks)
      : steps(steps_per_tile) {
    const int64_t total = int64_t{tiles} * steps;
    begin = static_cast<int>(total * block / blocks);
    end = static_cast<int>(total * (block + 1) / blocks);
    tile = begin / steps;
    at = begin - tile * steps;
  }
  __device__ void next() {
    if (++at == steps) at = 0, ++tile;
  }
};

// What is the same for every step.
struct StreamShape {
  int tiles, steps, x_bytes, stage_bytes;
  __device__ StreamShape(const StreamArg& a, int bits, int box_tokens) {
    const int rows = kStreamTileRows / a.weights;
    tiles = static_cast<int>((a.n + rows - 1) / rows);
    steps = static_cast<int>((a.k + stream_step(bits) - 1) / stream_step(bits));
    x_bytes = box_tokens * stream_step(bits) * 2;
    const int w_bytes = bits == 16 ? kStreamTileRows * 128 : 2 * a.format.step_bytes();
    stage_bytes = (x_bytes + w_bytes + 1023) / 1024 * 1024;
  }
  // Blocks that come later have earlier steps: one that waits for sums waits for blocks before it.
  __device__ StreamWalk walk() const {
    return StreamWalk(tiles, steps, gridDim.x - 1 - blockIdx.x, gridDim.x);
  }
};

// Weights of one step after another, for the thread that copies them.
template <int BITS>
struct WeightSteps {
  const StreamArg& a;
  StreamWalk walk;
  const uint8_t *first = nullptr, *second = nullptr;  // the step's two tiles of 64 rows
  uint32_t block = 0, bytes = 0;                      // of a step: of one of the tiles, all

  __device__ WeightSteps(const StreamArg& arg, const StreamWalk& from) : a(arg), walk(from) {
    block = static_cast<uint32_t>(a.format.step_bytes());
    begin_tile();
  }
  __device__ void begin_tile() {
    if constexpr (BITS == 16) {
      bytes = kStreamTileRows * 128;
      return;
    }
    const int64_t tile_bytes = a.format.tile_bytes(a.k), at = int64_t{walk.at} * block;
    const int64_t t = a.weights == 2 ? walk.tile : 2 * int64_t{walk.tile};
    first = a.packed + t * tile_bytes + at;
    second = a.weights == 2 ? a.packed_b + t * tile_bytes + at : first + tile_bytes;
    if (a.weights == 1 && (t + 1) * StreamFormat::kRows >= a.n) second = nullptr;
    bytes = second ? 2 * block : block;
  }
  __device__ void next() {
    const int tile = walk.tile;
    walk.next();
    if (walk.tile != tile) return begin_tile();
    first += block;
    if (second) second += block;
  }
  __device__ int row() const { return a.weights == 2 ? 0 : walk.tile * 128; }
  __device__ int group() const { return a.weights == 2 ? walk.tile * 8 : 0; }
  __device__ void copy(char* to, uint64_t* barrier) const {
    if constexpr (BITS == 16) {
      copy_box(to, &a.w, walk.at * 64, row(), 0, group(), barrier);
    } else {
      copy_bulk(to, first, block, barrier);
      if (second) copy_bulk(to + block, second, block, barrier);
    }
  }
};

// The copying thread: weights of as many steps as the ring holds before the kernel ahead has ended;
// then x.
template <int BITS, int NT>
__device__ void copy_steps(const StreamArg& a, const StreamShape& shape, const StageRing& ring) {
  WeightSteps<BITS> step(a, shape.walk());
  const int count = step.walk.end - step.walk.begin, first = min(count, a.stages);
  StagePlace place;
  const auto copy_weights = [&] {
    char* to = ring.data + place.stage * shape.stage_bytes + shape.x_bytes;
    arrive_expecting(&ring.full[place.stage], shape.x_bytes + step.bytes);
    step.copy(to, &ring.full[place.stage]);
  };
  const auto copy_x = [&](int stage, int at) {
#pragma unroll
    for (int part = 0; part < stream_step(BITS) / 64; ++part)
      copy_box(ring.data + stage * shape.stage_bytes + part * NT * 1024, &a.x,
               at * stream_step(BITS) + part * 64, 0, &ring.full[stage]);
  };
  for (int i = 0; i < first; ++i, step.next(), place.next(a.stages)) copy_weights();
  wait_for_previous();
  StreamWalk walk = shape.walk();
  for (int i = 0; i < first; ++i, walk.next()) copy_x(i, walk.at);
  for (int i = first; i < count; ++i, step.next(), place.next(a.stages)) {
    wait_phase(&ring.empty[place.stage], place.parity ^ 1);
    copy_weights();
    copy_x(place.stage, step.walk.at);
  }
}

// The second team's sums of a tile go to the first. Each waits for the other through `room`, which
// holds the sums of 256 threads.
template <int NT>
class Handover {
 public:
  __device__ explicit Handover(float4* room) : room_(room + threadIdx.x % kStreamThreads) {}
  __device__ void give(const float (&c)[NT][4]) {
    if (given_) asm volatile("bar.sync 3, 512;" ::: "memory");  // the last ones were taken
    given_ = true;
#pragma unroll
    for (int i = 0; i < NT; ++i)
      room_[i * kStreamThreads] = make_float4(c[i][0], c[i][1], c[i][2], c[i][3]);
    asm volatile("bar.arrive 2, 512;" ::: "memory");
  }
  __device__ void take(float (&c)[NT][4]) {
    asm volatile("bar.sync 2, 512;" ::: "memory");
#pragma unroll
    for (int i = 0; i < NT; ++i) {
      const float4 v = room_[i * kStreamThreads];
      c[i][0] += v.x;
      c[i][1] += v.y;
      c[i][2] += v.z;
      c[i][3] += v.w;
    }
    asm volatile("bar.arrive 3, 512;" ::: "memory");
  }
  __device__ void end() {  // of the second team
    if (given_) asm volatile("bar.sync 3, 512;" ::: "memory");
  }

 private:
  float4* const room_;
  bool given_ = false;
};

// Barrier of the warps that add up and write.
__device__ inline void meet_computing() { asm volatile("bar.sync 1, 256;" ::: "memory"); }

// Sums of a tile whose steps several blocks share: the one with its first steps finishes it; the
// others, which did their part of it first of all, leave theirs in memory. Whether this block
// finishes it; then c holds the whole sums.
template <int NT>
__device__ bool gather_sums(const StreamArg& a, const StreamShape& shape, const StreamWalk& w,
                            float (&c)[NT][4]) {
  const int64_t first_step = int64_t{w.tile} * shape.steps, next = first_step + shape.steps;
  const auto place = [&](int share) {
    return reinterpret_cast<float4*>(a.partial) + int64_t{share} * NT * kStreamThreads +
           threadIdx.x;
  };
  const int mine = gridDim.x - 1 - blockIdx.x;
  if (w.begin > first_step) {
#pragma unroll
    for (int i = 0; i < NT; ++i)
      __stcg(place(mine) + i * kStreamThreads, make_float4(c[i][0], c[i][1], c[i][2], c[i][3]));
    meet_computing();
    if (threadIdx.x == 0) {
      __threadfence();
      atomicAdd(a.arrived + w.tile, 1u);
    }
    return false;
  }
  if (w.end >= next) return true;
  const int64_t total = int64_t{shape.tiles} * shape.steps;
  const int last = static_cast<int>((next * gridDim.x - 1) / total);  // that has a step of the tile
  if (threadIdx.x == 0) {
    unsigned arrived;
    do {
      asm volatile("ld.acquire.gpu.global.u32 %0, [%1];"
                   : "=r"(arrived)
                   : "l"(a.arrived + w.tile)
                   : "memory");
    } while (arrived != static_cast<unsigned>(last - mine));
    a.arrived[w.tile] = 0;
  }
  meet_computing();
  constexpr int kAtOnce = NT >= 4 ? 1 : 4 / NT;
  for (int share = mine + 1; share <= last; share += kAtOnce) {
    float4 v[kAtOnce][NT];
#pragma unroll
    for (int j = 0; j < kAtOnce; ++j)
#pragma unroll
      for (int i = 0; i < NT; ++i)
        v[j][i] = share + j <= last ? __ldcg(place(share + j) + i * kStreamThreads)
                                    : make_float4(0, 0, 0, 0);
#pragma unroll
    for (int j = 0; j < kAtOnce; ++j)
#pragma unroll
      for (int i = 0; i < NT; ++i) {
        c[i][0] += v[j][i].x;
        c[i][1] += v[j][i].y;
        c[i][2] += v[j][i].z;
        c[i][3] += v[j][i].w;
      }
  }
  return true;
}

// Bias, activation, gate, residual; of this thread's rows and tokens. What is read comes first, all
// at once; then one loop that is not unrolled: its body is large, its time is not.
template <int NT>
__device__ void finish_tile(const StreamArg& a, int tile, const float (&sums)[NT][4]) {
  const int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
  const bool glu = a.weights == 2;
  const int64_t row = glu ? int64_t{tile} * 64 + 8 * warp + g : int64_t{tile} * 128 + 16 * warp + g;
  const int tokens = a.pair ? a.columns / 2 : a.columns;
  const auto token_of = [&](int i) { return a.pair ? i / 4 * 4 + t : i / 4 * 8 + 2 * t + i % 2; };
  float c[NT * 4], residual[NT * 4], bias = 0, high_bias = 0;
#pragma unroll
  for (int i = 0; i < NT * 4; ++i) {
    c[i] = a.swapped ? sums[i / 4][(i + 2) % 4] : sums[i / 4][i % 4];
    const int64_t n = row + (i % 4 >= 2 ? 8 : 0);
    residual[i] = a.residual.data && token_of(i) < tokens && n < a.n
                      ? load_activation(a.residual, token_of(i), n)
                      : 0.f;
  }
  if (a.bias.data && row < a.n) {
    bias = load_activation(a.bias, 0, row);
    if (glu) high_bias = load_activation(a.bias_b, 0, row);
    if (!glu && row + 8 < a.n) high_bias = load_activation(a.bias, 0, row + 8);
  }
#pragma unroll 1
  for (int i = 0; i < NT * 4; ++i) {
    const bool high = i % 4 >= 2;  // the second of the rows, with glu: of the weights
    if ((a.pair && i % 2 == 1) || (glu && high)) continue;
    const int token = token_of(i);
    const int64_t n = row + (high ? 8 : 0);
    if (token >= tokens || n >= a.n) continue;
    const auto sum = [&](int j) { return c[j] + (a.pair ? c[j + 1] : 0.f); };
    float v = apply(a.activation, sum(i) + (high ? high_bias : bias));
    if (glu) v *= sum(i + 2) + high_bias;
    store_activation(a.y, token, n, v + residual[i]);
  }
}

// The same for what models do most: results of 16 bits, no activation or silu.
template <typename E, int NT>
__device__ bool finish_usual(const StreamArg& a, int tile, const float (&c)[NT][4]) {
  constexpr DType kType = kIsHalf<E> ? DType::f16 : DType::bf16;
  const bool silu = a.activation == MapKind::silu, glu = a.weights == 2;
  if (a.pair || a.swapped || a.y.dtype != kType || a.bias.data) return false;
  if ((!silu && a.activation != MapKind::copy) || (a.residual.data && a.residual.dtype != kType))
    return false;
  const int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
  const int64_t row = glu ? int64_t{tile} * 64 + 8 * warp + g : int64_t{tile} * 128 + 16 * warp + g;
  E* y = static_cast<E*>(a.y.data) + row;
  const E* residual = static_cast<const E*>(a.residual.data) + row;
  const auto act = [&](float v) { return silu ? v / (1 + __expf(-v)) : v; };
#pragma unroll
  for (int i = 0; i < NT; ++i) {
    float more[2][2] = {};
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      const int token = 8 * i + 2 * t + j;
      if (!a.residual.data || token >= a.columns) continue;
      if (row < a.n) more[j][0] = static_cast<float>(residual[token * a.residual.stride]);
      if (row + 8 < a.n) more[j][1] = static_cast<float>(residual[token * a.residual.stride + 8]);
    }
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      const int token = 8 * i + 2 * t + j;
      if (token >= a.columns) continue;
      float lo = act(c[i][j]), hi = c[i][j + 2];
      if (glu) lo *= hi;
      if (row < a.n) y[token * a.y.stride] = static_cast<E>(lo + more[j][0]);
      if (!glu && row + 8 < a.n) y[token * a.y.stride + 8] = static_cast<E>(act(hi) + more[j][1]);
    }
  }
  return true;
}

template <typename E, int BITS, int FORMAT, int NT>
__device__ void compute_tiles(const StreamArg& a, const StreamShape& shape, const StageRing& ring,
                              float4* room) {
  constexpr bool kTeams = kStreamTeams<BITS, FORMAT, NT> == 2;
  const bool helps = kTeams && threadIdx.x >= kStreamThreads;
  Handover<NT> handover(room);
  wait_for_previous();
  StreamWalk walk = shape.walk();
  Product<E, BITS, FORMAT, NT> product(a);
  StagePlace place, read;  // `read`: the stage to be handed back next
  const bool speaks = threadIdx.x % 32 == 0;
  const auto hand_back = [&](bool ready) {
    __syncwarp();
    arrive_if(ready && speaks, &ring.empty[read.stage]);
    if (ready) read.next(a.stages);
  };
  for (int i = walk.begin; i < walk.end;) {
    const int count = min(shape.steps - walk.at, walk.end - i);
    for (int step = 0; step < count; ++step) {
      wait_phase(&ring.full[place.stage], place.parity);
      const uint32_t stage = shared_address(ring.data + place.stage * shape.stage_bytes);
      product.add_step(stage, stage + shape.x_bytes);
      hand_back(!product.kHoldsStep || step > 0);
      place.next(a.stages);
    }
    product.finish();
    hand_back(product.kHoldsStep);
    if (helps) {
      handover.give(product.c);
    } else {
      if (kTeams) handover.take(product.c);
      product.end_tile(a, walk.tile);
      if (gather_sums<NT>(a, shape, walk, product.c) &&
          !finish_usual<E, NT>(a, walk.tile, product.c))
        finish_tile<NT>(a, walk.tile, product.c);
    }
    product.clear();
    i += count;
    walk.at = 0;
    ++walk.tile;
  }
  if (helps) handover.end();
}

#endif

// Threads that compute.
template <int BITS, int FORMAT, int NT>
inline constexpr int kStreamComputing = kStreamThreads* kStreamTeams<BITS, FORMAT, NT>;

template <typename E, int BITS, int FORMAT, int NT>
__global__ __launch_bounds__(kStreamComputing<BITS, FORMAT, NT> + 32,
                             1) void stream_kernel(const __grid_constant__ StreamArg a) {
#ifdef TOKAMAK_STREAM
  constexpr int kComputing = kStreamComputing<BITS, FORMAT, NT>;
  extern __shared__ char dynamic[];
  __shared__ uint64_t full[kStreamMaxStages], empty[kStreamMaxStages];
  __shared__ float4 room[kComputing > kStreamThreads ? NT * kStreamThreads : 1];
  const StageRing ring{dynamic + (1024 - shared_address(dynamic) % 1024) % 1024, full, empty};
  const StreamShape shape(a, BITS, NT * 8);
  if (threadIdx.x == kComputing) {
    for (int i = 0; i < a.stages; ++i) {
      barrier_init(&full[i], 1);
      barrier_init(&empty[i], kComputing / 32);
    }
    barrier_init_fence();
  }
  __syncthreads();
  let_next_start();
  if (threadIdx.x < kComputing) {
    compute_tiles<E, BITS, FORMAT, NT>(a, shape, ring, room);
  } else if (threadIdx.x == kComputing) {
    copy_steps<BITS, NT>(a, shape, ring);
  }
#endif
}

// What is left has room for a block of decoding attention, which has much to prepare.
constexpr int kStreamRingBytes = 120 << 10;

template <typename E, int BITS, int FORMAT, int NT>
void stream_launch(StreamArg a, cudaStream_t stream) {
  const int w_bytes = BITS == 16 ? kStreamTileRows * 128 : 2 * a.format.step_bytes();
  const int stage = (NT * 8 * stream_step(BITS) * 2 + w_bytes + 1023) / 1024 * 1024;
  constexpr int kComputing = kStreamComputing<BITS, FORMAT, NT>;
  constexpr int kRoom = kComputing > kStreamThreads ? NT * kStreamThreads * 16 : 0;
  const int stages = (kStreamRingBytes - kRoom) / stage;
  a.stages = stages < kStreamMaxStages ? stages : kStreamMaxStages;
  const int ring = a.stages * stage + 1024, shared = ring > kAloneBytes ? ring : kAloneBytes;
  const auto kernel = stream_kernel<E, BITS, FORMAT, NT>;
  cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared);
  launch_overlapped(kernel, dim3(a.blocks), dim3(kComputing + 32), static_cast<size_t>(shared),
                    stream, a);
}

template <typename E, int BITS, int FORMAT>
void stream_by_tokens(const StreamArg& a, cudaStream_t stream) {
  switch (a.box) {
    case 8:
      return stream_launch<E, BITS, FORMAT, 1>(a, stream);
    case 16:
      return stream_launch<E, BITS, FORMAT, 2>(a, stream);
    case 32:
      return stream_launch<E, BITS, FORMAT, 4>(a, stream);
    default:
      return stream_launch<E, BITS, FORMAT, 8>(a, stream);
  }
}

template <int BITS, int FORMAT>
void stream_by_dtype(const StreamArg& a, cudaStream_t stream) {
  if (a.dtype == DType::bf16) return stream_by_tokens<__nv_bfloat16, BITS, FORMAT>(a, stream);
  stream_by_tokens<__half, BITS, FORMAT>(a, stream);
}

}  // namespace tokamak::cuda
