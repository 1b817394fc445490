// FP8 weights by activations of 16 bits, for up to 16 tokens: tensor-core products of codes widened
// in registers. The warps share out the 64 columns of a stage, and where there are many rows these.
// A lane's 16 bytes of 64 columns of a row are its part of four products' A operands, in the
// layout's order.
#include "backend/cuda/kernels/f8_stream.cuh"
#include "backend/cuda/kernels/mma.cuh"

namespace tokamak::cuda {
namespace {

#ifdef TOKAMAK_HAS_BULK_COPY

__device__ inline uint4 load_sixteen(uint32_t address) {
  uint4 v;
  asm volatile("ld.shared.v4.u32 {%0,%1,%2,%3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "r"(address));
  return v;
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

// Adds K groups of 16 rows times 64 columns of 8 NT tokens; lo, hi: 16 bytes of rows g and g + 8 of
// each group; x: the tokens in shared memory.
template <typename E, int NT, int K>
__device__ inline void add_unit(float (&c)[K][NT][4], const uint4 (&lo)[K], const uint4 (&hi)[K],
                                uint32_t x) {
  const int lane = threadIdx.x % 32;
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

template <typename E, int NT, int COLUMNS>
__device__ void compute(const F8StreamArg& a, const F8Share& s, char* ring, uint64_t* full,
                        uint64_t* empty, const float* scales) {
  constexpr int kGroups = kF8WarpGroups;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
  constexpr int kColumns = F8Format::kColumns, kParts = COLUMNS / kColumns;
  const int row_warps = kF8Warps / (s.units * kParts), row_warp = warp % row_warps;
  const int part = warp / row_warps;  // of the stage's columns, 64 each
  // Row g of group 0 in a stage; from there to the other half of its 16, and to the next group.
  const int twist = COLUMNS == 128 ? g : g >> 1 & 3;
  const int place = (part % kParts * 4 + t ^ twist) << 4;
  const int unit = part / kParts;
  const uint32_t lo =
      s.x_bytes + (a.glu ? s.unit_bytes / 2 : s.unit_bytes) * unit + g * COLUMNS + place;
  const uint32_t hi = a.glu ? s.unit_bytes / 2 * s.units : 8 * COLUMNS;
  const uint32_t group_bytes = (a.glu ? 8 : 16) * COLUMNS;
  float c[kGroups][NT][4] = {};
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
    add_unit<E, NT, kGroups>(c, low, high, base + part * NT * 1024);
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
    const int first = a.glu ? group * 8 + g : group * 16 + g,
              other = first + (a.glu ? rows / 2 : 8);
#pragma unroll
    for (int i = 0; i < NT; ++i) {
      float* to = sums + (part * NT * 8 + 8 * i + 2 * t) * rows;
      to[first] = c[u][i][0];
      to[first + rows] = c[u][i][1];
      to[other] = c[u][i][2];
      to[other + rows] = c[u][i][3];
    }
  }
  meet_computing();
  finish<NT * 8>(a, s, sums, s.units * kParts, scales);
}

#endif

template <typename E, int NT, int COLUMNS>
__global__ __maxnreg__(kF8Registers) void half_kernel(const __grid_constant__ F8StreamArg a) {
#ifdef TOKAMAK_HAS_BULK_COPY
  run_stream(
      a, NT * 16 * COLUMNS,
      [&](const F8Share& s, char* ring, uint64_t* full, uint64_t* empty, const float* scales) {
        compute<E, NT, COLUMNS>(a, s, ring, full, empty, scales);
      });
#endif
}

template <typename E, int NT>
void by_columns(const F8StreamArg& a, int ahead_bytes, cudaStream_t stream) {
  const int parts = a.share.units * a.share.columns / F8Format::kColumns;
  launch_stream(a.share.columns == 128 ? half_kernel<E, NT, 128> : half_kernel<E, NT, 64>, a,
                NT * 8, NT * 16 * a.share.columns, parts, 0, ahead_bytes, stream);
}

template <typename E>
void by_tokens(const F8StreamArg& a, int ahead_bytes, cudaStream_t stream) {
  if (a.tokens <= 8) return by_columns<E, 1>(a, ahead_bytes, stream);
  by_columns<E, 2>(a, ahead_bytes, stream);
}

}  // namespace

int f8_stream_box(int tokens, bool codes) {
  if (codes) return tokens <= 32 ? 32 : 64;
  return tokens <= 8 ? 8 : 16;
}

F8StreamShare f8_stream_share(int multiprocessors, int64_t n, int64_t k, bool glu, bool codes) {
  F8StreamShare s;
  const int64_t rows = glu ? 8 : 16;
  s.groups = static_cast<int>((n + rows - 1) / rows);
  const int64_t at_once = int64_t{multiprocessors} * (codes ? kF8MaxGroups : 4 * kF8WarpGroups);
  const int64_t waves = (s.groups + at_once - 1) / at_once, blocks = waves * multiprocessors;
  s.blocks = static_cast<int>(blocks < s.groups ? blocks : s.groups);
  s.most = (s.groups + s.blocks - 1) / s.blocks;
  s.columns = k % 128 == 0 ? 128 : 64;
  int parts = kF8Warps;  // of 64 columns in a stage
  if (codes)
    parts = s.most <= 3 ? 4 : 2;  // stages of some 24 KiB
  else
    while (s.most > kF8Warps / parts * kF8WarpGroups) parts /= 2;
  s.units = parts * F8Format::kColumns / s.columns;
  s.box_units = codes && glu ? 1 : s.units;
  return s;
}

void f8_stream(const F8StreamArg& a, int ahead_bytes, cudaStream_t stream) {
  if (a.tokens == 0) return;
  if (a.x_scales) return f8_stream_codes(a, ahead_bytes, stream);
  if (a.dtype == DType::bf16) return by_tokens<__nv_bfloat16>(a, ahead_bytes, stream);
  by_tokens<__half>(a, ahead_bytes, stream);
}

}  // namespace tokamak::cuda
