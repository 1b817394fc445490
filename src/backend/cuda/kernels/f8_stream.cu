// A block's rows go through a ring in shared memory, 64 columns for each of the warps that share
// out the columns at a time; one thread copies ahead, weights even before the kernel ahead has
// ended. Eight warps multiply: x of 16 bits by codes widened to 16 bits, or codes by codes. A
// lane's 16 bytes of 64 columns of a row are its part of the products' operands, in the layout's
// order. At the end the warps' sums meet in shared memory, always in the same order.
#include "backend/cuda/kernels/activate.cuh"
#include "backend/cuda/kernels/any.cuh"
#include "backend/cuda/kernels/bulk_copy.cuh"
#include "backend/cuda/kernels/f8_format.h"
#include "backend/cuda/kernels/f8_stream.h"
#include "backend/cuda/kernels/launch.cuh"

namespace tokamak::cuda {
namespace {

constexpr int kWarps = 8, kThreads = kWarps * 32, kMaxStages = 12, kMaxGroups = 16;
constexpr int kUnit = F8Format::kColumns;  // columns, and bytes of a row of codes
constexpr int kRingBytes = 100 << 10;      // leaves room for the next kernel's block
constexpr int kRegisters = 112;            // likewise
struct Codes {};                           // x in codes

template <typename E>
constexpr int kXBytes = __is_same(E, Codes) ? kUnit : 2 * kUnit;  // of a token's 64 columns
// Groups of rows of a warp.
template <int NT>
constexpr int kWarpGroups = NT <= 2 ? 3 : 2;

#ifdef TOKAMAK_HAS_BULK_COPY

__device__ inline void copy_box3(void* shared, const CUtensorMap* map, int row, int unit,
                                 uint64_t* barrier) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, "
      "{%2, %3, %4}], [%5];" ::"r"(shared_address(shared)),
      "l"(map), "r"(0), "r"(row), "r"(unit), "r"(shared_address(barrier))
      : "memory");
}
__device__ inline void prefetch_box3(const CUtensorMap* map, int row, int unit) {
  asm volatile("cp.async.bulk.prefetch.tensor.3d.L2.global.tile [%0, {%1, %2, %3}];" ::"l"(map),
               "r"(0), "r"(row), "r"(unit)
               : "memory");
}
__device__ inline void prefetch_map(const CUtensorMap* map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}

__device__ inline uint4 load_sixteen(uint32_t address) {
  uint4 v;
  asm volatile("ld.shared.v4.u32 {%0,%1,%2,%3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "r"(address));
  return v;
}

// Four 8 x 8 matrices of 16-bit elements; lane l gives the address of row l % 8 of matrix l / 8.
__device__ inline void load_matrices(uint32_t (&r)[4], uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address));
}

// Four codes to 16-bit numbers: the first two, the others.
template <typename E>
__device__ inline void widen_codes(uint32_t w, uint32_t& lo, uint32_t& hi) {
  if constexpr (__is_same(E, __half)) {
    asm("{\n.reg .b16 l, h;\nmov.b32 {l, h}, %2;\ncvt.rn.f16x2.e4m3x2 %0, l;\n"
        "cvt.rn.f16x2.e4m3x2 %1, h;\n}"
        : "=r"(lo), "=r"(hi)
        : "r"(w));
  } else {  // the bits in bfloat16's place make an exponent 120 too low
    const auto widen = [](uint32_t x) {
      const uint32_t moved = (x & 0x80008000u) | (x >> 4 & 0x07f007f0u);
      const __nv_bfloat16 up = __ushort_as_bfloat16(0x7b80);  // 2^120
      const __nv_bfloat162 v =
          __hmul2(*reinterpret_cast<const __nv_bfloat162*>(&moved), __nv_bfloat162(up, up));
      return *reinterpret_cast<const uint32_t*>(&v);
    };
    lo = widen(__byte_perm(w, 0, 0x1404));
    hi = widen(__byte_perm(w, 0, 0x3424));
  }
}

template <typename E>
__device__ inline void mma_halves(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
#define TOKAMAK_MMA(type)                                                   \
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32." type "." type       \
               ".f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};" \
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])             \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1))
  if constexpr (__is_same(E, __half))
    TOKAMAK_MMA("f16");
  else
    TOKAMAK_MMA("bf16");
#undef TOKAMAK_MMA
}
__device__ inline void mma_codes(float (&c)[4], uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3,
                                 uint32_t b0, uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e4m3.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

// Sums of K groups of 16 rows over 64 columns of 8 NT tokens; lo, hi: 16 bytes of rows g and g + 8
// of each group; x: the tokens in shared memory.
template <typename E, int NT, int K>
__device__ inline void add_unit(float (&c)[K][NT][4], const uint4 (&lo)[K], const uint4 (&hi)[K],
                                uint32_t x) {
  const int lane = threadIdx.x % 32;
  if constexpr (__is_same(E, Codes)) {
    const int g = lane / 4, t = lane % 4;
#pragma unroll
    for (int i = 0; i < NT; ++i) {
      const uint4 b = load_sixteen(x + (8 * i + g) * kUnit + ((t ^ (g >> 1 & 3)) << 4));
#pragma unroll
      for (int u = 0; u < K; ++u) {
        mma_codes(c[u][i], lo[u].x, hi[u].x, lo[u].y, hi[u].y, b.x, b.y);
        mma_codes(c[u][i], lo[u].z, hi[u].z, lo[u].w, hi[u].w, b.z, b.w);
      }
    }
  } else {
#pragma unroll
    for (int part = 0; part < 2; ++part) {
      uint32_t b[NT][4];
#pragma unroll
      for (int i = 0; i < NT; ++i)
        load_matrices(b[i],
                      x + i * 1024 + lane % 8 * 128 + (((part * 4 + lane / 8) ^ (lane % 8)) << 4));
#pragma unroll
      for (int u = 0; u < K; ++u) {
        uint32_t m[2][4];
        widen_codes<E>(part ? lo[u].z : lo[u].x, m[0][0], m[0][2]);
        widen_codes<E>(part ? hi[u].z : hi[u].x, m[0][1], m[0][3]);
        widen_codes<E>(part ? lo[u].w : lo[u].y, m[1][0], m[1][2]);
        widen_codes<E>(part ? hi[u].w : hi[u].y, m[1][1], m[1][3]);
#pragma unroll
        for (int i = 0; i < NT; ++i) {
          mma_halves<E>(c[u][i], m[0], b[i][0], b[i][1]);
          mma_halves<E>(c[u][i], m[1], b[i][2], b[i][3]);
        }
      }
    }
  }
}

// What a block has to do, and how a stage of its ring is made up: x [units][tokens][64], then codes
// [units][rows][64] (linear_glu: of each weight).
struct Share {
  int first, groups;  // of rows
  int units, steps;   // of 64 columns: in a stage; stages in all
  int turn;           // where the columns begin: not in all blocks at the same place
  int x_bytes, stage_bytes;
  __device__ Share(const F8StreamArg& a, int token_bytes) {
    const int64_t all = a.share.groups;
    first = static_cast<int>(all * blockIdx.x / a.share.blocks);
    groups = static_cast<int>(all * (blockIdx.x + 1) / a.share.blocks) - first;
    units = kWarps / a.share.row_warps;
    steps = (static_cast<int>(a.k / kUnit) + units - 1) / units;
    turn = static_cast<int>(int64_t{steps} * blockIdx.x / a.share.blocks);
    x_bytes = units * token_bytes;
    stage_bytes = (x_bytes + units * a.share.most * 16 * kUnit + 1023) / 1024 * 1024;
  }
  __device__ int unit_of(int step) const {
    const int place = step + turn;
    return (place < steps ? place : place - steps) * units;
  }
};

// The copying thread.
__device__ inline void copy_stages(const F8StreamArg& a, const Share& s, char* ring, uint64_t* full,
                                   uint64_t* empty) {
  const int which = s.groups == a.share.most ? 0 : 1;
  const int rows = a.glu ? 8 : 16;  // of one weight in a group
  const int w_bytes = s.units * s.groups * 16 * kUnit;
  const auto copy_w = [&](int stage, int step) {
    char* to = ring + stage * s.stage_bytes + s.x_bytes;
    copy_box3(to, &a.w[which], s.first * rows, s.unit_of(step), &full[stage]);
    if (a.glu)
      copy_box3(to + w_bytes / 2, &a.w_b[which], s.first * rows, s.unit_of(step), &full[stage]);
  };
  const auto copy_x = [&](int stage, int step) {
    copy_box3(ring + stage * s.stage_bytes, &a.x, 0, s.unit_of(step), &full[stage]);
  };
  const int before = s.steps < a.stages ? s.steps : a.stages;
  for (int i = 0; i < before; ++i) {
    arrive_expecting(&full[i], s.x_bytes + w_bytes);
    copy_w(i, i);
  }
  for (int i = before; i < s.steps && i < before + a.ahead; ++i) {
    prefetch_box3(&a.w[which], s.first * rows, s.unit_of(i));
    if (a.glu) prefetch_box3(&a.w_b[which], s.first * rows, s.unit_of(i));
  }
  prefetch_map(&a.x);
  wait_for_previous();
  for (int i = 0; i < before; ++i) copy_x(i, i);
  int stage = 0;
  uint32_t parity = 0;
  for (int i = before; i < s.steps; ++i) {
    wait_phase(&empty[stage], parity);
    arrive_expecting(&full[stage], s.x_bytes + w_bytes);
    copy_w(stage, i);
    copy_x(stage, i);
    if (++stage == a.stages) stage = 0, parity ^= 1;
  }
  let_next_start();
}

__device__ inline void meet_computing() { asm volatile("bar.sync 1, 256;" ::: "memory"); }

// The scales of the block's rows, in the order of its sums, into shared memory: ahead of time.
__device__ inline void load_scales(const F8StreamArg& a, const Share& s, float* scales) {
  const int rows = s.groups * 16, outs = a.glu ? rows / 2 : rows;
  for (int r = threadIdx.x; r < rows; r += kThreads) {
    const int64_t n = int64_t{s.first} * (a.glu ? 8 : 16) + r % outs;
    scales[r] = n < a.n ? __ldg((r < outs ? a.scales : a.scales_b) + n) : 0.f;
  }
}

// The sums [column warps][tokens][rows] become outputs.
template <int NT>
__device__ void finish(const F8StreamArg& a, const Share& s, const float* sums,
                       const float* scales) {
  const int rows = s.groups * 16, outs = a.glu ? rows / 2 : rows;
  const int64_t first = int64_t{s.first} * (a.glu ? 8 : 16);
  for (int e = threadIdx.x; e < a.tokens * outs; e += kThreads) {
    const int token = e / outs, r = e % outs;
    const int64_t n = first + r;
    if (n >= a.n) continue;
    const auto sum = [&](int row) {
      float v = 0;
      for (int u = 0; u < s.units; ++u) v += sums[(u * NT * 8 + token) * rows + row];
      return v;
    };
    const float x_scale = a.x_scales ? a.x_scales[token] : 1.f;
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

template <typename E, int NT>
__device__ void compute(const F8StreamArg& a, const Share& s, char* ring, uint64_t* full,
                        uint64_t* empty, float* scales) {
  constexpr int kGroups = kWarpGroups<NT>;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
  const int row_warps = a.share.row_warps, row_warp = warp % row_warps, unit = warp / row_warps;
  // Row g of group 0 in a stage; from there to the other half of its 16, and to the warp's next.
  const int unit_bytes = s.groups * 16 * kUnit, place = (t ^ (g >> 1 & 3)) << 4;
  const uint32_t lo = s.x_bytes + (a.glu ? unit_bytes / 2 : unit_bytes) * unit + g * kUnit + place;
  const uint32_t hi = a.glu ? unit_bytes / 2 * s.units : 8 * kUnit;
  const uint32_t group_bytes = (a.glu ? 8 : 16) * kUnit;
  float c[kGroups][NT][4] = {};
  load_scales(a, s, scales);
  wait_for_previous();
  int stage = 0;
  uint32_t parity = 0;
  for (int i = 0; i < s.steps; ++i) {
    wait_phase(&full[stage], parity);
    const uint32_t base = shared_address(ring + stage * s.stage_bytes);
    uint4 low[kGroups], high[kGroups];  // groups that there are not: the first again
#pragma unroll
    for (int u = 0; u < kGroups; ++u) {
      const int group = row_warp + u * row_warps;
      const uint32_t at = base + lo + (group < s.groups ? group : 0) * group_bytes;
      low[u] = load_sixteen(at);
      high[u] = load_sixteen(at + hi);
    }
    add_unit<E, NT, kGroups>(c, low, high, base + unit * NT * 8 * kXBytes<E>);
    __syncwarp();
    if (lane == 0) arrive(&empty[stage]);
    if (++stage == a.stages) stage = 0, parity ^= 1;
  }
  meet_computing();  // the ring is free
  auto* sums = reinterpret_cast<float*>(ring);
  const int rows = s.groups * 16;
#pragma unroll
  for (int u = 0; u < kGroups; ++u) {
    const int group = row_warp + u * row_warps;
    if (group >= s.groups) break;
    const int low = a.glu ? group * 8 + g : group * 16 + g, high = low + (a.glu ? rows / 2 : 8);
#pragma unroll
    for (int i = 0; i < NT; ++i) {
      float* to = sums + (unit * NT * 8 + 8 * i + 2 * t) * rows;
      to[low] = c[u][i][0];
      to[low + rows] = c[u][i][1];
      to[high] = c[u][i][2];
      to[high + rows] = c[u][i][3];
    }
  }
  meet_computing();
  finish<NT>(a, s, sums, scales);
}

#endif

template <typename E, int NT>
__global__ __maxnreg__(kRegisters) void f8_stream_kernel(const __grid_constant__ F8StreamArg a) {
#ifdef TOKAMAK_HAS_BULK_COPY
  extern __shared__ char dynamic[];
  __shared__ uint64_t full[kMaxStages], empty[kMaxStages];
  __shared__ float scales[kMaxGroups * 16];
  char* ring = dynamic + (1024 - shared_address(dynamic) % 1024) % 1024;
  const Share share(a, NT * 8 * kXBytes<E>);
  if (threadIdx.x == kThreads) {
    for (int i = 0; i < a.stages; ++i) {
      barrier_init(&full[i], 1);
      barrier_init(&empty[i], kWarps);
    }
    barrier_init_fence();
  }
  __syncthreads();
  if (threadIdx.x < kThreads)
    compute<E, NT>(a, share, ring, full, empty, scales);
  else if (threadIdx.x == kThreads)
    copy_stages(a, share, ring, full, empty);
  else
    wait_for_previous();
#endif
}

template <typename E, int NT>
void launch(F8StreamArg a, int ahead_bytes, cudaStream_t stream) {
  const int units = kWarps / a.share.row_warps;
  const int w_bytes = units * a.share.most * 16 * kUnit;
  const int stage = (units * NT * 8 * kXBytes<E> + w_bytes + 1023) / 1024 * 1024;
  a.stages = kRingBytes / stage < kMaxStages ? kRingBytes / stage : kMaxStages;
  a.ahead = ahead_bytes / w_bytes;
  const int sums = units * NT * 8 * a.share.most * 16 * static_cast<int>(sizeof(float));
  const int ring = a.stages * stage > sums ? a.stages * stage : sums;
  cudaFuncSetAttribute(f8_stream_kernel<E, NT>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                       ring + 1024);
  launch_overlapped(f8_stream_kernel<E, NT>, dim3(static_cast<unsigned>(a.share.blocks)),
                    dim3(kThreads + 32), static_cast<size_t>(ring) + 1024, stream, a);
}

template <typename E>
void by_tokens(const F8StreamArg& a, int ahead_bytes, cudaStream_t stream) {
  switch (f8_stream_box(a.tokens)) {
    case 8:
      return launch<E, 1>(a, ahead_bytes, stream);
    case 16:
      return launch<E, 2>(a, ahead_bytes, stream);
    default:
      break;
  }
  if constexpr (__is_same(E, Codes)) {
    if (a.tokens <= 32) return launch<E, 4>(a, ahead_bytes, stream);
    launch<E, 8>(a, ahead_bytes, stream);
  }
}

}  // namespace

int f8_stream_box(int tokens) {
  return tokens <= 8 ? 8 : tokens <= 16 ? 16 : tokens <= 32 ? 32 : 64;
}

F8StreamShare f8_stream_share(int multiprocessors, int64_t n, bool glu, int tokens) {
  F8StreamShare s;
  const int64_t rows = glu ? 8 : 16;
  s.groups = static_cast<int>((n + rows - 1) / rows);
  const int per_warp = tokens <= 16 ? kWarpGroups<1> : kWarpGroups<8>;
  const int64_t at_once = int64_t{multiprocessors} * (tokens <= 16 ? 12 : kMaxGroups);
  const int64_t waves = (s.groups + at_once - 1) / at_once;
  const int64_t blocks = waves * multiprocessors;
  s.blocks = static_cast<int>(blocks < s.groups ? blocks : s.groups);
  s.most = (s.groups + s.blocks - 1) / s.blocks;
  while (s.row_warps * per_warp < s.most) s.row_warps *= 2;
  return s;
}

void f8_stream(F8StreamArg a, int ahead_bytes, cudaStream_t stream) {
  if (a.tokens == 0) return;
  if (a.x_scales) return by_tokens<Codes>(a, ahead_bytes, stream);
  if (a.dtype == DType::bf16) return by_tokens<__nv_bfloat16>(a, ahead_bytes, stream);
  by_tokens<__half>(a, ahead_bytes, stream);
}

}  // namespace tokamak::cuda
