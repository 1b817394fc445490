// The kernel of strip_linear.h. Tokens are the rows of the tensor cores' products, weights their
// columns. One thread copies stages ahead into a ring, weights even before the kernel ahead has
// ended, and half of the tokens for both blocks of the cluster. Two groups of four warps
// multiply: of up to 64 tokens half of each unit's columns each, of more half of the tokens. Their
// sums meet in shared memory, where what follows the product is done.
#pragma once
#include "backend/cuda/kernels/activate.cuh"
#include "backend/cuda/kernels/bulk_copy.cuh"
#include "backend/cuda/kernels/cluster.cuh"
#include "backend/cuda/kernels/launch.cuh"
#include "backend/cuda/kernels/strip_linear.h"
#include "backend/cuda/kernels/vector.cuh"
#include "backend/cuda/kernels/wgmma.cuh"

namespace tokamak::cuda {

constexpr int kStripMaxStages = 12, kStripComputing = 8 * 32;

#if defined(TOKAMAK_HAS_BULK_COPY) && defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define TOKAMAK_STRIPS 1

// The strips of a block, and the parts of a stage: x [units][box][128 bytes], then weights
// [units][rows][128 bytes], of linear_glu those of each.
struct Strips {
  int at, end;         // the current one, and where the block's end
  int steps;           // stages of a strip
  int turn;            // the first of them: not for all clusters the same columns
  int x_bytes, bytes;  // of a stage
  __device__ Strips(const StripArg& a, int unit_columns) {
    const int each = a.share.count / a.share.blocks;
    at = static_cast<int>(blockIdx.x) * each;
    end = at + each;
    const int units = static_cast<int>(a.k) / unit_columns;
    steps = (units + a.units - 1) / a.units;
    turn = steps * (static_cast<int>(blockIdx.x) / 2) * 2 / a.share.blocks;
    x_bytes = a.units * a.box * kStripUnitBytes;
    bytes = x_bytes + a.units * a.share.rows * kStripUnitBytes;
  }
  __device__ int first(const StripArg& a, int strip) const {
    const auto all = static_cast<uint32_t>(a.n) / StripShare::kStep;
    return static_cast<int>(all * strip / a.share.count * StripShare::kStep);
  }
  __device__ int outputs(const StripArg& a, int strip) const {
    return first(a, strip + 1) - first(a, strip);
  }
  __device__ int next(int step) const { return step + 1 < steps ? step + 1 : 0; }
};

// The copying thread. Of the tokens it copies half: half of a stage's units, or of the only one.
__device__ inline void copy_strips(const StripArg& a, const StageRing& ring, Strips s) {
  const int rank = static_cast<int>(cluster_rank()), all = (s.end - s.at) * s.steps;
  const int half_unit = a.units > 1 ? rank * a.units / 2 : 0;
  const int half_token = a.units > 1 ? 0 : rank * a.box / 2;
  int step = s.turn, outputs = s.outputs(a, s.at), row = s.first(a, s.at);
  const auto copy_weights = [&](int stage) {
    const int which = outputs == a.share.most ? 0 : 1;
    const int bytes = outputs * kStripUnitBytes;  // of a unit
    char* to = ring.data + stage * s.bytes + s.x_bytes;
    arrive_expecting(&ring.full[stage], s.x_bytes + a.units * a.weights * bytes);
    if (a.weights == 1) {
      copy_box3(to, &a.w[which], row, step * a.units, &ring.full[stage]);
    } else {
      for (int u = 0; u < a.units; ++u, to += 2 * bytes) {
        copy_box3(to, &a.w[which], row, step * a.units + u, &ring.full[stage]);
        copy_box3(to + bytes, &a.w_b[which], row, step * a.units + u, &ring.full[stage]);
      }
    }
    step = s.next(step);
    if (step != s.turn || ++s.at >= s.end) return;
    outputs = s.outputs(a, s.at);
    row = s.first(a, s.at);
  };
  int x_step = s.turn;
  const auto copy_x = [&](int stage) {
    copy_box3_to_both(ring.data + stage * s.bytes + rank * s.x_bytes / 2, &a.x, half_token,
                      x_step * a.units + half_unit, &ring.full[stage]);
    x_step = s.next(x_step);
  };
  const int first = min(all, a.stages);
  StagePlace place;
  for (int i = 0; i < first; ++i) copy_weights(i);
  wait_for_previous();
  for (int i = 0; i < first; ++i, place.next(a.stages)) copy_x(i);
  for (int i = first; i < all; ++i, place.next(a.stages)) {
    wait_phase(&ring.empty[place.stage], place.parity ^ 1);
    copy_weights(place.stage);
    copy_x(place.stage);
  }
}

// Barrier of the warps that multiply.
__device__ inline void strip_meet() { asm volatile("bar.sync 1, 256;" ::: "memory"); }

__device__ inline float4 load_four(const RowsArg& x, bool vectors, int64_t row, int64_t column) {
  if (!vectors)
    return make_float4(load_activation(x, row, column), load_activation(x, row, column + 1),
                       load_activation(x, row, column + 2), load_activation(x, row, column + 3));
  const auto* p =
      static_cast<const char*>(x.data) + (row * x.stride + column) * element_bytes(x.dtype);
  if (x.dtype == DType::f32) return *reinterpret_cast<const float4*>(p);
  const uint2 w = *reinterpret_cast<const uint2*>(p);
  float f[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const uint32_t v = (i < 2 ? w.x : w.y) >> i % 2 * 16 & 0xffff;
    f[i] = x.dtype == DType::bf16 ? __uint_as_float(v << 16)
                                  : __half2float(__ushort_as_half(static_cast<uint16_t>(v)));
  }
  return make_float4(f[0], f[1], f[2], f[3]);
}
__device__ inline void store_four(const RowsArg& y, bool vectors, int64_t row, int64_t column,
                                  float4 v) {
  if (!vectors) {
    const float f[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) store_activation(y, row, column + i, f[i]);
    return;
  }
  auto* p = static_cast<char*>(y.data) + (row * y.stride + column) * element_bytes(y.dtype);
  if (y.dtype == DType::f32) {
    *reinterpret_cast<float4*>(p) = v;
  } else if (y.dtype == DType::bf16) {
    const __nv_bfloat162 a = __floats2bfloat162_rn(v.x, v.y), b = __floats2bfloat162_rn(v.z, v.w);
    *reinterpret_cast<uint2*>(p) =
        make_uint2(*reinterpret_cast<const uint32_t*>(&a), *reinterpret_cast<const uint32_t*>(&b));
  } else {
    const __half2 a = __floats2half2_rn(v.x, v.y), b = __floats2half2_rn(v.z, v.w);
    *reinterpret_cast<uint2*>(p) =
        make_uint2(*reinterpret_cast<const uint32_t*>(&a), *reinterpret_cast<const uint32_t*>(&b));
  }
}
__device__ inline float strip_activate(MapKind kind, float v) {
  if (kind == MapKind::silu) return quick_silu(v);
  if (kind == MapKind::gelu_tanh) return quick_gelu_tanh(v);
  return v;
}
__device__ inline float4 times(float4 a, float4 b, float f) {
  return make_float4(a.x * (b.x * f), a.y * (b.y * f), a.z * (b.z * f), a.w * (b.w * f));
}
__device__ inline float4 plus(float4 a, float4 b) {
  return make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w);
}

// What a strip's sums of codes are multiplied by: the tokens' scales, then those of its rows.
struct StripScales {
  float* tokens;  // [kStripTokens]
  float* rows;    // [kStripMostRows]
  __device__ void load_rows(const StripArg& a, int first, int outputs) const {
    const int thread = threadIdx.x;
    if (thread < outputs) rows[thread] = a.scales[first + thread];
    if (a.weights == 2 && thread < outputs) rows[outputs + thread] = a.scales_b[first + thread];
  }
  __device__ void load_tokens(const StripArg& a) const {
    if (static_cast<int>(threadIdx.x) < a.tokens) tokens[threadIdx.x] = a.row_scales[threadIdx.x];
  }
};

// All that follows the product, four neighbours of a token at a time. room: [box][pitch] sums,
// those of the second weight behind the first's.
template <bool CODES>
__device__ void finish_strip(const StripArg& a, int first, int outputs, const float* room,
                             int pitch, const StripScales& scales) {
  const bool glu = a.weights == 2;
  const int fours = outputs / 4;
  constexpr int kAtOnce = 2;
  const float4 zero = make_float4(0, 0, 0, 0);
  const int all = a.tokens * fours;
#pragma unroll 1
  for (int from = threadIdx.x; from < all; from += kAtOnce * kStripComputing) {
    float4 more[kAtOnce];
    int token[kAtOnce], column[kAtOnce];
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      const int item = min(from + i * kStripComputing, all - 1);
      token[i] = item / fours;
      column[i] = (item - token[i] * fours) * 4;
      more[i] =
          a.residual.data ? load_four(a.residual, a.vectors, token[i], first + column[i]) : zero;
    }
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      if (from + i * kStripComputing >= all) break;
      const int n = first + column[i];
      const float* at = room + token[i] * pitch + column[i];
      const auto scaled = [&](int part) {
        const float4 v = *reinterpret_cast<const float4*>(at + part);
        if constexpr (!CODES) return v;
        return times(v, *reinterpret_cast<const float4*>(scales.rows + part + column[i]),
                     scales.tokens[token[i]]);
      };
      float4 v = scaled(0);
      if (a.bias.data) v = plus(v, load_four(a.bias, a.vectors, 0, n));
      v = make_float4(strip_activate(a.activation, v.x), strip_activate(a.activation, v.y),
                      strip_activate(a.activation, v.z), strip_activate(a.activation, v.w));
      if (glu) {
        float4 b = scaled(outputs);
        if (a.bias_b.data) b = plus(b, load_four(a.bias_b, a.vectors, 0, n));
        v = make_float4(v.x * b.x, v.y * b.y, v.z * b.z, v.w * b.w);
      }
      store_four(a.y, a.vectors, token[i], n, plus(v, more[i]));
    }
  }
}

// Sums of this group of warps into the room, or added to what is there.
template <int NT>
__device__ void put_sums(const float (&c)[NT][4], float* room, int pitch, int tokens, int rows,
                         bool add) {
  const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
  const int token = threadIdx.x / 32 % 4 * 16 + g;
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    if (token + 8 * h >= tokens) continue;
    float* to = room + (token + 8 * h) * pitch + 2 * t;
#pragma unroll
    for (int i = 0; i < NT; ++i) {
      if (8 * i >= rows) break;
      auto* at = reinterpret_cast<float2*>(to + 8 * i);
      float2 v = make_float2(c[i][2 * h], c[i][2 * h + 1]);
      if (add) {
        const float2 old = *at;
        v.x += old.x, v.y += old.y;
      }
      *at = v;
    }
  }
}

// MANY: more than 64 tokens.
template <typename E, int NT, bool MANY>
__device__ void multiply_strips(const StripArg& a, const StageRing& ring, Strips s, float* room,
                                const StripScales& scales) {
  constexpr bool kCodes = __is_same(E, Codes);
  constexpr int kUnits = strip_units(NT * 8, MANY ? kStripTokens : 64);
  const int group = threadIdx.x / 128, pitch = a.share.rows + 4;
  if (kCodes) scales.load_rows(a, s.first(a, s.at), s.outputs(a, s.at));
  wait_for_previous();
  if (kCodes) scales.load_tokens(a);
  StagePlace place;
  float c[NT][4];
  const auto hand_back = [&](int stage) {  // to both blocks
    __syncwarp();
    if (threadIdx.x % 32 < 2) arrive_at(&ring.empty[stage], threadIdx.x % 32);
  };
  for (; s.at < s.end; ++s.at) {
    const int outputs = s.outputs(a, s.at);
    const uint32_t w_bytes = a.weights * outputs * kStripUnitBytes;  // of a unit
#pragma unroll
    for (int i = 0; i < NT; ++i) c[i][0] = c[i][1] = c[i][2] = c[i][3] = 0;
    int before = 0;
    for (int step = 0; step < s.steps; ++step) {
      wait_phase(&ring.full[place.stage], place.parity);
      const uint32_t stage = shared_address(ring.data + place.stage * s.bytes);
      wgmma_begin();
#pragma unroll
      for (int u = 0; u < kUnits; ++u) {
        const uint32_t x = stage + u * a.box * kStripUnitBytes;
        const uint64_t tokens =
            matrix_descriptor(MANY ? x + group * 64 * kStripUnitBytes : x) + (MANY ? 0 : 4 * group);
        const uint64_t weights =
            matrix_descriptor(stage + s.x_bytes + u * w_bytes) + (MANY ? 0 : 4 * group);
#pragma unroll
        for (int part = 0; part < (MANY ? 4 : 2); ++part)
          wgmma_add<E, NT>(c, tokens + 2 * part, weights + 2 * part);
      }
      wgmma_commit();
      wgmma_wait<1>();  // of the step before
      if (step > 0) hand_back(before);
      before = place.stage;
      place.next(a.stages);
    }
    wgmma_wait<0>();
    wgmma_hold(c);
    hand_back(before);
    if constexpr (MANY) {
      put_sums<NT>(c, room + group * 64 * pitch, pitch, a.tokens - group * 64, a.share.rows, false);
    } else {
      if (group == 1) put_sums<NT>(c, room, pitch, a.tokens, a.share.rows, false);
      strip_meet();
      if (group == 0) put_sums<NT>(c, room, pitch, a.tokens, a.share.rows, true);
    }
    strip_meet();
    finish_strip<kCodes>(a, s.first(a, s.at), outputs, room, pitch, scales);
    if (s.at + 1 == s.end) break;
    strip_meet();
    if (kCodes) scales.load_rows(a, s.first(a, s.at + 1), s.outputs(a, s.at + 1));
  }
}
#endif

template <typename E, int NT, bool MANY>
__global__ __launch_bounds__(kStripComputing + 32,
                             1) void strip_kernel(const __grid_constant__ StripArg a) {
#ifdef TOKAMAK_STRIPS
  extern __shared__ char dynamic[];
  __shared__ uint64_t full[kStripMaxStages], empty[kStripMaxStages];
  __shared__ __align__(16) float token_scales[kStripTokens], row_scales[kStripMostRows];
  // Both blocks of the cluster must have the same place for a stage.
  char* data = dynamic + (1024 - shared_address(dynamic) % 1024) % 1024;
  const StageRing ring{data, full, empty};
  const Strips strips(a, kStripUnitBytes / (__is_same(E, Codes) ? 1 : 2));
  if (threadIdx.x == kStripComputing) {
    for (int i = 0; i < a.stages; ++i) {
      barrier_init(&full[i], 1);
      barrier_init(&empty[i], 2 * kStripComputing / 32);
    }
    barrier_init_fence();
  }
  cluster_sync();
  let_next_start();
  if (threadIdx.x < kStripComputing) {
    multiply_strips<E, NT, MANY>(a, ring, strips,
                                 reinterpret_cast<float*>(data + a.stages * strips.bytes),
                                 {token_scales, row_scales});
  } else if (threadIdx.x == kStripComputing) {
    copy_strips(a, ring, strips);
  }
  __syncwarp();
  cluster_sync();  // the other block may still report to this one
#endif
}

template <typename E, int NT, bool MANY>
void strip_launch(StripArg a, cudaStream_t stream) {
  const int stage = a.units * (a.box + a.share.rows) * kStripUnitBytes;
  const int room = a.box * (a.share.rows + 4) * static_cast<int>(sizeof(float));
  // Behind strips of many rows there is room for a block of decoding attention, which has much to
  // prepare.
  constexpr int kRingBytes = (NT > 4 ? 120 : 150) << 10;
  a.stages = kRingBytes / stage < kStripMaxStages ? kRingBytes / stage : kStripMaxStages;
  // What products read of rows that are not there may lie behind the last stage.
  constexpr int kBehind = (NT * 8 + 64) * kStripUnitBytes;
  const int needed = a.stages * stage + (room > kBehind ? room : kBehind) + 1024;
  const int shared = needed > kAloneBytes ? needed : kAloneBytes;
  const auto kernel = strip_kernel<E, NT, MANY>;
  cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared);
  launch_clustered(kernel, dim3(a.share.blocks), dim3(kStripComputing + 32),
                   static_cast<size_t>(shared), stream, dim3(2), a);
}

// The kernels of one dtype: of so many rows of weights and tokens.
template <typename E, int NT>
void strip_by_tokens(const StripArg& a, cudaStream_t stream) {
  if (a.box <= 64) return strip_launch<E, NT, false>(a, stream);
  strip_launch<E, NT, true>(a, stream);
}
template <typename E>
void strip_linear_of(const StripArg& a, cudaStream_t stream) {
  if (a.share.rows <= 32) return strip_by_tokens<E, 4>(a, stream);
  if (a.share.rows <= 64) return strip_by_tokens<E, 8>(a, stream);
  if (a.share.rows <= 96) return strip_by_tokens<E, 12>(a, stream);
  if (a.share.rows <= 128) return strip_by_tokens<E, 16>(a, stream);
  if (a.share.rows <= 176) return strip_by_tokens<E, 22>(a, stream);
  strip_by_tokens<E, 32>(a, stream);
}

}  // namespace tokamak::cuda
