// One step of the streaming kernel in the hands of a computing warp: its 16 rows of weights, as
// codes in shared memory, become A operands in registers. Codes are made numbers by putting them
// into the mantissa of a constant and taking the constant away; the products of 32 columns are
// summed before the group's scale is applied, in float32, so that only x is ever rounded.
#pragma once
#include "backend/cuda/kernels/bulk_copy.cuh"
#include "backend/cuda/kernels/mma.cuh"
#include "backend/cuda/kernels/stream_linear.h"
#include "backend/cuda/kernels/wgmma.cuh"

namespace tokamak::cuda {

// Bits of FORMAT. Groups of 64 and more are summed 64 columns at a time, those of 32 alone.
inline constexpr int kStreamMin = 1, kStreamSmall = 2;

// Teams of eight warps that share a step's columns: codes of few tokens take longer to become
// numbers than to come from memory, and two warps a scheduler wait for each other's results.
template <int BITS, int FORMAT, int NT>
inline constexpr int kStreamTeams = BITS != 16 && NT <= 4 ? 2 : 1;

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

__device__ inline uint4 load_shared16(uint32_t address) {
  uint4 v;
  asm volatile("ld.shared.v4.u32 {%0,%1,%2,%3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "r"(address));
  return v;
}
__device__ inline float load_shared_half(uint32_t address) {
  unsigned short h;
  asm volatile("ld.shared.u16 %0, [%1];" : "=h"(h) : "r"(address));
  return __half2float(__ushort_as_half(h));
}

template <typename E>
__device__ inline uint32_t subtract_pair(uint32_t a, uint32_t b) {
  using Pair = std::conditional_t<kIsHalf<E>, __half2, __nv_bfloat162>;
  const Pair d = __hsub2(*reinterpret_cast<const Pair*>(&a), *reinterpret_cast<const Pair*>(&b));
  return *reinterpret_cast<const uint32_t*>(&d);
}

// The bits of w under the mask, and those of `magic`: one instruction, which ptxas does not find.
__device__ inline uint32_t pick_bits(uint32_t w, uint32_t mask, uint32_t magic) {
  uint32_t v;
  asm("lop3.b32 %0, %1, %2, %3, 0xea;" : "=r"(v) : "r"(w), "r"(mask), "r"(magic));
  return v;
}
// Stays in its register, instead of being worked out anew.
__device__ inline void keep(uint32_t& v) { asm volatile("" : "+r"(v)); }

// Codes c + 128 in the four bytes: c of columns (0, 1) and (2, 3).
template <typename E>
__device__ inline void from_bytes(uint32_t w, uint32_t& lo, uint32_t& hi) {
  if constexpr (kIsHalf<E>) {  // 1024 + byte, less 1152
    lo = subtract_pair<E>(__byte_perm(w, 0x64646464, 0x4140), 0x64806480);
    hi = subtract_pair<E>(__byte_perm(w, 0x64646464, 0x4342), 0x64806480);
  } else {  // seven bits into the mantissa of 128; the eighth decides between less 128 and less 256
    const uint32_t a = __byte_perm(w, 0, 0x4140), b = __byte_perm(w, 0, 0x4342);
    lo = subtract_pair<E>((a & 0x007f007f) | 0x43004300, (a & 0x00800080) ^ 0x43804380);
    hi = subtract_pair<E>((b & 0x007f007f) | 0x43004300, (b & 0x00800080) ^ 0x43804380);
  }
}

// Nibbles c + 8: pairs (0, 4), (1, 5), (2, 6), (3, 7).
template <typename E>
__device__ inline void from_nibbles(uint32_t w, uint32_t (&pairs)[4]) {
  if constexpr (kIsHalf<E>) {  // 1024 + n less 1032; 1024 + 16n, by 1/16, less 72
    const __half2 sixteenth = __float2half2_rn(0.0625f), less = __float2half2_rn(-72.f);
#pragma unroll
    for (int i = 0; i < 2; ++i, w >>= 8) {
      pairs[2 * i] = subtract_pair<E>(pick_bits(w, 0x000f000f, 0x64006400), 0x64086408);
      const uint32_t high = pick_bits(w, 0x00f000f0, 0x64006400);
      const __half2 v = __hfma2(*reinterpret_cast<const __half2*>(&high), sixteenth, less);
      pairs[2 * i + 1] = *reinterpret_cast<const uint32_t*>(&v);
    }
  } else {  // 128 + n less 136
#pragma unroll
    for (int i = 0; i < 4; ++i, w >>= 4)
      pairs[i] = subtract_pair<E>(pick_bits(w, 0x000f000f, 0x43004300), 0x43084308);
  }
}

template <typename E, int BITS, int FORMAT, int NT>
struct Product {
  static constexpr bool MIN = FORMAT & kStreamMin, SMALL = FORMAT & kStreamSmall;
  static constexpr int kTokenBytes = NT * 8 * 128;  // of 64 columns
  static constexpr int kTeams = kStreamTeams<BITS, FORMAT, NT>;
  // The products of one half of a step run while the next half's operands are made.
  static constexpr bool kOverlap = NT <= 2 && !MIN && kTeams == 1, kHoldsStep = false;
  // Products that follow one another into the same sums wait for each other: several sums.
  static constexpr int kParts = NT == 1 && !MIN ? 4 : NT == 2 || SMALL ? 2 : 1;
  static constexpr int kSlots = kOverlap ? 2 : 1, kGroups = SMALL ? 2 : 1;  // of 64 columns

  float c[NT][4];  // scales applied
  float p[kSlots][kParts][NT][4];
  float s[MIN ? kParts : 1][NT][4];                        // sums of x, every row the same
  uint32_t m[kSlots][4][4];                                // 64 columns as A operands
  float d[kSlots][kGroups][2], low[MIN ? kGroups : 1][2];  // scales and minima of the rows
  const bool per_row;
  const uint32_t next_group;  // bytes between groups' scales
  uint32_t block_bytes;
  uint32_t second_half;  // from the scales of a block's first 64 columns to those of the others
  uint32_t unit[2];      // where the rows g and g + 8 are, in a step's weights
  uint32_t scale[2];     // their scales; where a row has one, they are not looked at

  __device__ explicit Product(const StreamArg& a)
      : per_row(a.format.group == 0),
        next_group(static_cast<uint32_t>(a.format.scale_planes()) * StreamFormat::kRows * 2),
        block_bytes(static_cast<uint32_t>(a.format.block_bytes())),
        second_half(SMALL                  ? 2 * next_group
                    : a.format.group == 64 ? next_group
                                           : 0) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const uint32_t block = unit_of(a, half) / 8 * a.format.step_bytes();
      unit[half] =
          block + unit_of(a, half) % 8 * a.format.unit_bytes() + threadIdx.x % 32 * (2 * BITS);
      scale[half] = MIN || !per_row ? block + a.format.code_bytes() + row_in_tile(a, half) * 2 : 0;
      if (team() == 1) {
        unit[half] += BITS == 4 ? block_bytes : 512;
        if (MIN || !per_row)
          scale[half] += BITS == 4 ? block_bytes : SMALL ? 2 * next_group : second_half;
      }
      keep(unit[half]);
      keep(scale[half]);
    }
    keep(block_bytes);
    keep(second_half);
    clear();
  }
  __device__ static int team() { return kTeams == 1 ? 0 : threadIdx.x / kStreamThreads; }
  // Unit of 8 rows, of the step's 16: with two weights theirs alternate.
  __device__ static int unit_of(const StreamArg& a, int half) {
    const int warp = threadIdx.x / 32 % 8;
    return a.weights == 2 ? warp + 8 * half : 2 * warp + half;
  }
  __device__ static int row_in_tile(const StreamArg& a, int half) {
    return unit_of(a, half) % 8 * 8 + threadIdx.x % 32 / 4;
  }
  __device__ void clear() {
#pragma unroll
    for (int i = 0; i < NT; ++i) c[i][0] = c[i][1] = c[i][2] = c[i][3] = 0;
  }

  // x: boxes of 64 columns; w: the weights, both in shared memory.
  __device__ void add_step(uint32_t x, uint32_t w) {
    constexpr int kHalves = stream_step(BITS) / 64 / kTeams;  // of this team
    if constexpr (kTeams == 2) {
      x += team() * kHalves * kTokenBytes;
#pragma unroll
      for (int half = 0; half < kHalves; ++half) add_half(x + half * kTokenBytes, w, half);
      return;
    }
    start_half(x, w, 0, 0);
#pragma unroll
    for (int half = 1; half < kHalves; ++half) {
      if constexpr (kOverlap) {
        start_half(x, w, half, half % 2);
        wgmma_wait<1>();
        apply_half((half - 1) % 2);
      } else {
        wgmma_wait<0>();
        apply_half(0);
        start_half(x, w, half, 0);
      }
    }
    wgmma_wait<0>();
    apply_half((kHalves - 1) % kSlots);
  }
  __device__ void finish() {}
  // 64 columns, by each warp for itself: sixteen of them need not let products run on.
  __device__ void add_half(uint32_t x, uint32_t w, int half) {
    const int lane = threadIdx.x % 32;
    const uint32_t tokens = x + lane % 8 * 128 + (((lane / 8) ^ (lane % 8)) << 4);
    const uint32_t scales = half == 1 ? w + second_half : w;
    uint32_t codes[2][BITS / 2];
    load_codes(w, half, codes);
#pragma unroll
    for (int group = 0; group < kGroups; ++group)
      load_scales(group == 1 ? scales + next_group : scales, 0, group);
#pragma unroll
    for (int part = 0; part < 2; ++part) {  // 32 columns
      const int group = part * kGroups / 2;
      float(&sum)[NT][4] = p[0][group];
      if (part == 0 || SMALL) set_zero(sum);
      if constexpr (MIN)
        if (part == 0 || SMALL) set_zero(s[0]);
      uint32_t a[2][4];
      widen(codes, part, a);
#pragma unroll
      for (int i = 0; i < NT; ++i) {
        uint32_t b[4];
        load_matrices(b, (tokens ^ (part * 64)) + i * 1024);
        mma_halves<E>(sum[i], a[0], b[0], b[1]);
        mma_halves<E>(sum[i], a[1], b[2], b[3]);
        if constexpr (MIN) {
          constexpr uint32_t kOne = kIsHalf<E> ? 0x3c003c00 : 0x3f803f80;
          constexpr uint32_t kOnes[4] = {kOne, kOne, kOne, kOne};
          mma_halves<E>(s[0][i], kOnes, b[0], b[1]);
          mma_halves<E>(s[0][i], kOnes, b[2], b[3]);
        }
      }
      if (part == 0 && !SMALL) continue;
#pragma unroll
      for (int i = 0; i < NT; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          c[i][j] += d[0][group][j / 2] * sum[i][j];
          if constexpr (MIN) c[i][j] += low[group][j / 2] * s[0][i][j];
        }
    }
  }
  __device__ static void set_zero(float (&v)[NT][4]) {
#pragma unroll
    for (int i = 0; i < NT; ++i) v[i][0] = v[i][1] = v[i][2] = v[i][3] = 0;
  }
  // Of 64 columns, rows g and g + 8.
  __device__ void load_codes(uint32_t w, int half, uint32_t (&codes)[2][BITS / 2]) {
#pragma unroll
    for (int row = 0; row < 2; ++row) {
      if constexpr (BITS == 8) {
        const uint4 v = load_shared16(w + unit[row] + half * 512);
        codes[row][0] = v.x, codes[row][1] = v.y, codes[row][2] = v.z, codes[row][3] = v.w;
      } else {
        asm volatile("ld.shared.v2.u32 {%0,%1}, [%2];"
                     : "=r"(codes[row][0]), "=r"(codes[row][1])
                     : "r"(w + unit[row] + half * 256));
      }
    }
  }
  // 32 of the 64 columns as two A operands.
  __device__ static void widen(const uint32_t (&codes)[2][BITS / 2], int part,
                               uint32_t (&a)[2][4]) {
#pragma unroll
    for (int row = 0; row < 2; ++row) {
      if constexpr (BITS == 8) {
        from_bytes<E>(codes[row][2 * part], a[0][row], a[0][row + 2]);
        from_bytes<E>(codes[row][2 * part + 1], a[1][row], a[1][row + 2]);
      } else {
        uint32_t pairs[4];
        from_nibbles<E>(codes[row][part], pairs);
        a[0][row] = pairs[0], a[0][row + 2] = pairs[1];
        a[1][row] = pairs[2], a[1][row + 2] = pairs[3];
      }
    }
  }
  // 64 columns of the step.
  __device__ void start_half(uint32_t x, uint32_t step, int part64, int slot) {
    const uint32_t w = part64 >= 2 ? step + block_bytes : step, half = part64 % 2;
    uint32_t codes[2][BITS / 2];
    load_codes(w, half, codes);
#pragma unroll
    for (int part = 0; part < 2; ++part) {
      uint32_t a[2][4];
      widen(codes, part, a);
#pragma unroll
      for (int i = 0; i < 8; ++i) m[slot][2 * part + i / 4][i % 4] = a[i / 4][i % 4];
    }
    const uint32_t scales = half == 1 ? w + second_half : w;
#pragma unroll
    for (int group = 0; group < kGroups; ++group)
      load_scales(group == 1 ? scales + next_group : scales, slot, group);
    const uint64_t tokens = matrix_descriptor(x + part64 * kTokenBytes);
    wgmma_begin();
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int part = i * kParts / 4;
      const bool first = i % (4 / kParts) == 0;
      constexpr uint32_t kOne = kIsHalf<E> ? 0x3c003c00 : 0x3f803f80;
      constexpr uint32_t kOnes[4] = {kOne, kOne, kOne, kOne};
      wgmma<E, NT>(p[slot][part], m[slot][i], tokens + 2 * i, !first);
      if constexpr (MIN) wgmma<E, NT>(s[part], kOnes, tokens + 2 * i, !first);
    }
    wgmma_commit();
  }
  // A value is d * code + m, and the codes here are less by 128 or 8.
  __device__ void load_scales(uint32_t at, int slot, int group) {
    constexpr float kLess = BITS == 8 ? 128 : 8;
#pragma unroll
    for (int row = 0; row < 2; ++row) {
      const float v = load_shared_half(at + scale[row]);
      d[slot][group][row] = MIN || !per_row ? v : 1.f;
      if constexpr (MIN)
        low[group][row] = load_shared_half(at + scale[row] + StreamFormat::kRows * 2) +
                          kLess * d[slot][group][row];
    }
  }
  __device__ void apply_half(int slot) {
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
      hold(p[slot][part]);
      if constexpr (MIN) hold(s[part]);
#pragma unroll
      for (int i = 0; i < NT; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          const int group = part * kGroups / kParts;
          c[i][j] += d[slot][group][j / 2] * p[slot][part][i][j];
          if constexpr (MIN) c[i][j] += low[group][j / 2] * s[part][i][j];
        }
    }
  }
  // Sums are not read before they are there.
  __device__ static void hold(float (&v)[NT][4]) {
#pragma unroll
    for (int i = 0; i < NT; ++i)
      asm volatile("" : "+f"(v[i][0]), "+f"(v[i][1]), "+f"(v[i][2]), "+f"(v[i][3])::"memory");
  }
  // Formats with one scale a row apply it here.
  __device__ void end_tile(const StreamArg& a, int tile) {
    if (MIN || !per_row) return;
    float d[2] = {0, 0};
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int64_t t = a.weights == 2 ? tile : 2 * int64_t{tile} + unit_of(a, half) / 8;
      if (t * StreamFormat::kRows >= a.n) continue;
      const uint8_t* base = half == 1 && a.weights == 2 ? a.packed_b : a.packed;
      const uint8_t* scales =
          base + t * a.format.tile_bytes(a.k) + a.format.blocks(a.k) * a.format.block_bytes();
      d[half] = __ldg(reinterpret_cast<const float*>(scales) + row_in_tile(a, half));
    }
#pragma unroll
    for (int i = 0; i < NT; ++i)
#pragma unroll
      for (int j = 0; j < 4; ++j) c[i][j] *= d[j / 2];
  }
};

// 16-bit weights, rows of 64 columns as the copy engine lays them out.
template <typename E, int NT>
struct Product<E, 16, 0, NT> {
  static constexpr bool kHoldsStep = true;  // its last step is still read
  float c[NT][4];
  const uint32_t rows;  // of this group of four warps

  __device__ explicit Product(const StreamArg&) : rows(threadIdx.x / 128 * 64 * 128) { clear(); }
  __device__ void clear() {
#pragma unroll
    for (int i = 0; i < NT; ++i) c[i][0] = c[i][1] = c[i][2] = c[i][3] = 0;
  }
  __device__ void add_step(uint32_t x, uint32_t w) {
    const uint64_t weights = matrix_descriptor(w + rows), tokens = matrix_descriptor(x);
    wgmma_begin();
#pragma unroll
    for (int i = 0; i < 4; ++i) wgmma<E, NT>(c, weights + 2 * i, tokens + 2 * i, true);
    wgmma_commit();
    wgmma_wait<1>();  // of the step before
  }
  __device__ void finish() {
    wgmma_wait<0>();
#pragma unroll
    for (int i = 0; i < NT; ++i)  // sums are not read before they are there
      asm volatile("" : "+f"(c[i][0]), "+f"(c[i][1]), "+f"(c[i][2]), "+f"(c[i][3])::"memory");
  }
  __device__ void end_tile(const StreamArg&, int) {}
};

#endif

}  // namespace tokamak::cuda
