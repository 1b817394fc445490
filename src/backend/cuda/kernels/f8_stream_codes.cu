// FP8 weights by activations in FP8, for up to 64 tokens: products of 64 rows by 32 columns of both
// sides straight from shared memory (sm_90a). Two groups of four warps take the tiles of 64 rows in
// turn, or, where there is but one, the columns. The last tile's missing rows are whatever lies
// behind the others; their sums are dropped.
#include "backend/cuda/kernels/f8_stream.cuh"

namespace tokamak::cuda {
namespace {

constexpr int kTileRows = 64;

#if defined(TOKAMAK_HAS_BULK_COPY) && defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define TOKAMAK_F8_CODES 1

__device__ inline void products_begin() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ inline void products_end() {
  asm volatile("wgmma.commit_group.sync.aligned;\nwgmma.wait_group.sync.aligned 0;" ::: "memory");
}
// Rows of COLUMNS codes, swizzled over so many bytes; + 2 goes 32 columns on.
template <int COLUMNS>
__device__ inline uint64_t matrix_of(uint32_t address) {
  return (uint64_t{COLUMNS == 128 ? 1 : 2} << 62) | (uint64_t{COLUMNS * 8 >> 4} << 32) |
         (uint64_t{1} << 16) | ((address & 0x3ffff) >> 4);
}

// clang-format off
#define TOKAMAK_C(i) "+f"(c[i][0]), "+f"(c[i][1]), "+f"(c[i][2]), "+f"(c[i][3])
#define TOKAMAK_C4 TOKAMAK_C(0), TOKAMAK_C(1), TOKAMAK_C(2), TOKAMAK_C(3)
#define TOKAMAK_C8 TOKAMAK_C4, TOKAMAK_C(4), TOKAMAK_C(5), TOKAMAK_C(6), TOKAMAK_C(7)
// c += a · bᵀ
__device__ inline void product(float (&c)[4][4], uint64_t a, uint64_t b) {
  asm volatile("wgmma.mma_async.sync.aligned.m64n32k32.f32.e4m3.e4m3 "
      "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15}, %16, %17, 1, 1, 1;"
      : TOKAMAK_C4 : "l"(a), "l"(b));
}
__device__ inline void product(float (&c)[8][4], uint64_t a, uint64_t b) {
  asm volatile("wgmma.mma_async.sync.aligned.m64n64k32.f32.e4m3.e4m3 "
      "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,"
      "%25,%26,%27,%28,%29,%30,%31}, %32, %33, 1, 1, 1;"
      : TOKAMAK_C8 : "l"(a), "l"(b));
}
#undef TOKAMAK_C8
#undef TOKAMAK_C4
#undef TOKAMAK_C
// clang-format on

// NT: times 8 tokens; TILES: of a group of warps; 0: one tile, of which it takes every second 32
// columns.
template <int NT, int kTiles, int COLUMNS>
__device__ void compute(const F8StreamArg& a, const F8Share& s, char* ring, uint64_t* full,
                        uint64_t* empty, const float* scales) {
  constexpr bool kSplit = kTiles == 0;
  constexpr int TILES = kSplit ? 1 : kTiles;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, half = warp / 4;
  const int rows = s.groups * 16;
  const int first_tile = kSplit ? 0 : half;  // and every second one
  float c[TILES][NT][4] = {};
  int stage = 0;
  uint32_t parity = 0;
  for (int i = 0; i < s.steps; ++i) {
    wait_phase(&full[stage], parity);
    const uint32_t x = shared_address(ring + stage * s.stage_bytes), w = x + s.x_bytes;
    products_begin();
    for (int unit = 0; unit < s.units; ++unit) {
      const uint64_t b = matrix_of<COLUMNS>(x + unit * NT * 8 * COLUMNS);
#pragma unroll
      for (int m = 0; m < TILES; ++m) {
        const uint64_t tile = matrix_of<COLUMNS>(w + unit * s.unit_bytes +
                                                 (first_tile + 2 * m) * kTileRows * COLUMNS);
        if constexpr (kSplit) {
#pragma unroll
          for (int step = 0; step < COLUMNS / 64; ++step)
            product(c[m], tile + 4 * step + 2 * half, b + 4 * step + 2 * half);
        } else {
#pragma unroll
          for (int step = 0; step < COLUMNS / 32; ++step)
            product(c[m], tile + 2 * step, b + 2 * step);
        }
      }
    }
    products_end();
    if (lane == 0) arrive(&empty[stage]);
    if (++stage == a.stages) stage = 0, parity ^= 1;
  }
  meet_computing();  // the ring is free
  auto* sums = reinterpret_cast<float*>(ring) + (kSplit ? half * NT * 8 * rows : 0);
#pragma unroll
  for (int m = 0; m < TILES; ++m) {
    const int row = (first_tile + 2 * m) * kTileRows + warp % 4 * 16 + lane / 4;
#pragma unroll
    for (int i = 0; i < NT; ++i) {
      float* to = sums + (8 * i + lane % 4 * 2) * rows;
      if (row < rows) to[row] = c[m][i][0], to[row + rows] = c[m][i][1];
      if (row + 8 < rows) to[row + 8] = c[m][i][2], to[row + 8 + rows] = c[m][i][3];
    }
  }
  meet_computing();
  finish<NT * 8>(a, s, reinterpret_cast<const float*>(ring), kSplit ? 2 : 1, scales);
}

#endif

template <int NT, int TILES, int COLUMNS>
__global__ __maxnreg__(kF8Registers) void codes_kernel(const __grid_constant__ F8StreamArg a) {
#ifdef TOKAMAK_F8_CODES
  run_stream(
      a, NT * 8 * COLUMNS,
      [&](const F8Share& s, char* ring, uint64_t* full, uint64_t* empty, const float* scales) {
        compute<NT, TILES, COLUMNS>(a, s, ring, full, empty, scales);
      });
#endif
}

template <int NT, int COLUMNS>
void by_tiles(const F8StreamArg& a, int ahead_bytes, cudaStream_t stream) {
  const int tiles = (a.share.most * 16 + kTileRows - 1) / kTileRows;
  const auto kernel = tiles == 1   ? codes_kernel<NT, 0, COLUMNS>
                      : tiles == 2 ? codes_kernel<NT, 1, COLUMNS>
                                   : codes_kernel<NT, 2, COLUMNS>;
  launch_stream(kernel, a, NT * 8, NT * 8 * COLUMNS, tiles == 1 ? 2 : 1, 2 * kTileRows * COLUMNS,
                ahead_bytes, stream);
}

template <int NT>
void by_columns(const F8StreamArg& a, int ahead_bytes, cudaStream_t stream) {
  if (a.share.columns == 128) return by_tiles<NT, 128>(a, ahead_bytes, stream);
  by_tiles<NT, 64>(a, ahead_bytes, stream);
}

}  // namespace

void f8_stream_codes(const F8StreamArg& a, int ahead_bytes, cudaStream_t stream) {
  if (a.tokens <= 32) return by_columns<4>(a, ahead_bytes, stream);
  by_columns<8>(a, ahead_bytes, stream);
}

}  // namespace tokamak::cuda
