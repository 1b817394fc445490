// A block of threads per row. A thread has units of 16 columns in registers while the largest is
// found; four neighbours exchange theirs, so that each writes 16 bytes in the weights' order.
#include <cuda_fp8.h>

#include "backend/cuda/kernels/activate.cuh"
#include "backend/cuda/kernels/any.cuh"
#include "backend/cuda/kernels/f8_format.h"
#include "backend/cuda/kernels/f8_rows.h"
#include "backend/cuda/kernels/launch.cuh"
#include "backend/cuda/kernels/vector.cuh"

namespace tokamak::cuda {
namespace {

constexpr int kUnit = 16;         // columns
constexpr int kMaxThreads = 512;  // of a row
constexpr float kLargestCode = 448, kLeast = 1e-30f;

template <bool kVectors>
__device__ inline void load_eight(const RowsArg& x, int64_t row, int64_t vector,
                                  float (&f)[kVector]) {
  if constexpr (kVectors) {
    widen8(x.dtype, load8(x.dtype, vector_at(x, row, vector)), f);
  } else {
#pragma unroll
    for (int i = 0; i < kVector; ++i) f[i] = at(x, row, vector * kVector + i);
  }
}

__device__ inline uint32_t four_codes(float a, float b, float c, float d, float inverse) {
  const auto pair = [&](float x, float y) -> uint32_t {
    return __nv_cvt_float2_to_fp8x2(make_float2(x * inverse, y * inverse), __NV_SATFINITE,
                                    __NV_E4M3);
  };
  return pair(a, b) | pair(c, d) << 16;
}

// Word t of lane q (of four) goes to word q of lane t.
__device__ inline void exchange(uint32_t (&w)[4]) {
  const int lane = threadIdx.x % 4;
#pragma unroll
  for (int step = 1; step < 4; step *= 2) {
    const bool upper = lane & step;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (i & step) continue;
      const uint32_t give = upper ? w[i] : w[i | step];
      const uint32_t take = __shfl_xor_sync(0xffffffffu, give, step);
      (upper ? w[i] : w[i | step]) = take;
    }
  }
}

// U: units of a thread.
template <int U, bool kVectors>
__global__ __launch_bounds__(kMaxThreads) void quantize_kernel(RowsArg x, float scale,
                                                               uint8_t* codes, float* scales) {
  __shared__ float shared[32];
  wait_for_previous();
  let_next_start();
  const int64_t row = blockIdx.x;
  const int units = static_cast<int>(x.width / kUnit);
  float f[U][2][kVector];
  float largest = 0;
#pragma unroll
  for (int u = 0; u < U; ++u) {
    const int unit = u * blockDim.x + threadIdx.x;
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      if (unit < units) {
        load_eight<kVectors>(x, row, int64_t{unit} * 2 + h, f[u][h]);
      } else {
#pragma unroll
        for (int i = 0; i < kVector; ++i) f[u][h][i] = 0;
      }
#pragma unroll
      for (int i = 0; i < kVector; ++i) largest = fmaxf(largest, fabsf(f[u][h][i]));
    }
  }
  if (scale > 0)
    largest = kLargestCode * scale;
  else
    largest = block_reduce(largest, shared, [](float a, float b) { return fmaxf(a, b); });
  const float inverse = largest < kLeast ? 0 : kLargestCode / largest;
  if (threadIdx.x == 0) scales[row] = largest < kLeast ? 0 : largest / kLargestCode;
#pragma unroll
  for (int u = 0; u < U; ++u) {
    const int unit = u * blockDim.x + threadIdx.x;
    uint32_t w[4];
#pragma unroll
    for (int t = 0; t < 4; ++t)
      w[t] = four_codes(f[u][0][2 * t], f[u][0][2 * t + 1], f[u][1][2 * t], f[u][1][2 * t + 1],
                        inverse);
    exchange(w);
    if (unit < units)
      reinterpret_cast<uint4*>(codes + row * x.width)[unit] = make_uint4(w[0], w[1], w[2], w[3]);
  }
}

template <int U>
void quantize_units(const RowsArg& x, float scale, uint8_t* codes, float* scales,
                    cudaStream_t stream) {
  const int64_t units = (x.width / kUnit + U - 1) / U;
  const dim3 grid(static_cast<unsigned>(x.rows)),
      block(static_cast<unsigned>((units + 31) / 32 * 32));
  if (has_vectors(x))
    launch_overlapped(quantize_kernel<U, true>, grid, block, 0, stream, x, scale, codes, scales);
  else
    launch_overlapped(quantize_kernel<U, false>, grid, block, 0, stream, x, scale, codes, scales);
}

constexpr int kFinishThreads = 256, kFinishVectors = 2;  // of a thread

// Block (row, part of it); all loads come first.
__global__ __launch_bounds__(kFinishThreads) void finish_vectors_kernel(FinishArg f) {
  wait_for_previous();
  let_next_start();
  const int64_t row = blockIdx.x, vectors = f.y.width / kVector;
  const int64_t first = int64_t{blockIdx.y} * kFinishThreads * kFinishVectors + threadIdx.x;
  Raw8 a[kFinishVectors], b[kFinishVectors], r[kFinishVectors];
#pragma unroll
  for (int u = 0; u < kFinishVectors; ++u) {
    const int64_t v = first + u * kFinishThreads;
    if (v >= vectors) break;
    a[u] = load8(f.a.dtype, vector_at(f.a, row, v));
    if (f.b.data) b[u] = load8(f.b.dtype, vector_at(f.b, row, v));
    if (f.residual.data) r[u] = load8(f.residual.dtype, vector_at(f.residual, row, v));
  }
#pragma unroll
  for (int u = 0; u < kFinishVectors; ++u) {
    const int64_t v = first + u * kFinishThreads;
    if (v >= vectors) break;
    float y[kVector], other[kVector], bias[kVector] = {};
    widen8(f.a.dtype, a[u], y);
    if (f.bias.data) load_eight<true>(f.bias, 0, v, bias);
#pragma unroll
    for (int i = 0; i < kVector; ++i) y[i] = apply(f.activation, y[i] + bias[i]);
    if (f.b.data) {
      widen8(f.b.dtype, b[u], other);
#pragma unroll
      for (int i = 0; i < kVector; ++i) bias[i] = 0;
      if (f.bias_b.data) load_eight<true>(f.bias_b, 0, v, bias);
#pragma unroll
      for (int i = 0; i < kVector; ++i) y[i] *= other[i] + bias[i];
    }
    if (f.residual.data) {
      widen8(f.residual.dtype, r[u], other);
#pragma unroll
      for (int i = 0; i < kVector; ++i) y[i] += other[i];
    }
    store8(f.y.dtype, vector_at(f.y, row, v), narrow8(f.y.dtype, y));
  }
}

// Eight columns of R rows a thread, so that columns' scales are read once for them.
template <int R, bool kGlu>
__global__ __launch_bounds__(kFinishThreads) void scale_kernel(FinishArg f) {
  constexpr int kAtOnce = 4;
  const int64_t v = int64_t{blockIdx.x} * kFinishThreads + threadIdx.x;
  const bool some = v < f.y.width / kVector;
  float a_scale[kVector], b_scale[kVector];
  if (some) {
#pragma unroll
    for (int i = 0; i < kVector; ++i) {
      a_scale[i] = f.a_scales[v * kVector + i] * f.factor;
      if constexpr (kGlu) b_scale[i] = f.b_scales[v * kVector + i] * f.factor;
    }
  }
  wait_for_previous();
  let_next_start();
  if (!some) return;
  float bias[kVector] = {}, bias_b[kVector] = {};
  if (f.bias.data) load_eight<true>(f.bias, 0, v, bias);
  if (kGlu && f.bias_b.data) load_eight<true>(f.bias_b, 0, v, bias_b);
  const int64_t first = int64_t{blockIdx.y} * R;
  for (int64_t r0 = first; r0 < min(first + R, f.y.rows); r0 += kAtOnce) {
    Raw8 a[kAtOnce], b[kAtOnce];
    float scale[kAtOnce];
#pragma unroll
    for (int u = 0; u < kAtOnce; ++u) {
      const int64_t row = min(r0 + u, f.y.rows - 1);
      a[u] = load8(DType::f16, vector_at(f.a, row, v));
      if constexpr (kGlu) b[u] = load8(DType::f16, vector_at(f.b, row, v));
      scale[u] = f.row_scales[row];
    }
#pragma unroll
    for (int u = 0; u < kAtOnce; ++u) {
      const int64_t row = r0 + u;
      if (row >= f.y.rows) break;
      float y[kVector], other[kVector];
      widen8(DType::f16, a[u], y);
#pragma unroll
      for (int i = 0; i < kVector; ++i) {
        const float x = y[i] * (a_scale[i] * scale[u]) + bias[i];
        y[i] = f.activation == MapKind::silu ? __fdividef(x, 1.f + __expf(-x))
                                             : apply(f.activation, x);
      }
      if constexpr (kGlu) {
        widen8(DType::f16, b[u], other);
#pragma unroll
        for (int i = 0; i < kVector; ++i) y[i] *= other[i] * (b_scale[i] * scale[u]) + bias_b[i];
      }
      if (f.residual.data) {
        load_eight<true>(f.residual, row, v, other);
#pragma unroll
        for (int i = 0; i < kVector; ++i) y[i] += other[i];
      }
      store8(f.y.dtype, vector_at(f.y, row, v), narrow8(f.y.dtype, y));
    }
  }
}

__global__ void scale_any_kernel(FinishArg f) {
  wait_for_previous();
  let_next_start();
  const int64_t row = blockIdx.x;
  const float scale = f.row_scales[row] * f.factor;
  for (int64_t c = threadIdx.x; c < f.y.width; c += blockDim.x) {
    float y = at(f.a, row, c) * (f.a_scales[c] * scale) + (f.bias.data ? at(f.bias, 0, c) : 0.f);
    y = apply(f.activation, y);
    if (f.b.data)
      y *= at(f.b, row, c) * (f.b_scales[c] * scale) + (f.bias_b.data ? at(f.bias_b, 0, c) : 0.f);
    if (f.residual.data) y += at(f.residual, row, c);
    put(f.y, row, c, y);
  }
}

template <int R>
void scale_rows(const FinishArg& f, cudaStream_t stream) {
  const int64_t vectors = f.y.width / kVector;
  const dim3 grid(static_cast<unsigned>((vectors + kFinishThreads - 1) / kFinishThreads),
                  static_cast<unsigned>((f.y.rows + R - 1) / R));
  launch_overlapped(f.b.data ? scale_kernel<R, true> : scale_kernel<R, false>, grid,
                    dim3(kFinishThreads), 0, stream, f);
}

__global__ void finish_kernel(FinishArg f) {
  wait_for_previous();
  let_next_start();
  const int64_t row = blockIdx.x;
  for (int64_t c = threadIdx.x; c < f.y.width; c += blockDim.x) {
    float a = at(f.a, row, c);
    if (f.bias.data) a += at(f.bias, 0, c);
    a = apply(f.activation, a);
    if (f.b.data) a *= at(f.b, row, c) + (f.bias_b.data ? at(f.bias_b, 0, c) : 0.f);
    if (f.residual.data) a += at(f.residual, row, c);
    put(f.y, row, c, a);
  }
}

bool all_have_vectors(const FinishArg& f) {
  bool all = true;
  for (const RowsArg* r : {&f.a, &f.b, &f.bias, &f.bias_b, &f.residual, &f.y})
    all = all && has_vectors(*r);
  return all;
}

}  // namespace

void quantize_f8_rows(RowsArg x, float scale, uint8_t* codes, float* scales, cudaStream_t stream) {
  if (x.rows == 0) return;
  const int64_t units = x.width / kUnit;
  if (units <= kMaxThreads) return quantize_units<1>(x, scale, codes, scales, stream);
  if (units <= 2 * kMaxThreads) return quantize_units<2>(x, scale, codes, scales, stream);
  quantize_units<4>(x, scale, codes, scales, stream);
}

void scale_linear(const FinishArg& f, cudaStream_t stream) {
  if (f.y.rows == 0 || f.y.width == 0) return;
  if (!all_have_vectors(f))
    return launch_overlapped(scale_any_kernel, dim3(static_cast<unsigned>(f.y.rows)),
                             dim3(kFinishThreads), 0, stream, f);
  if (f.y.rows <= 256) return scale_rows<4>(f, stream);
  scale_rows<16>(f, stream);
}

void finish_linear(const FinishArg& f, cudaStream_t stream) {
  if (f.y.rows == 0 || f.y.width == 0) return;
  const bool aligned = all_have_vectors(f);
  const auto rows = static_cast<unsigned>(f.y.rows);
  if (!aligned)
    return launch_overlapped(finish_kernel, dim3(rows), dim3(kFinishThreads), 0, stream, f);
  constexpr int64_t kColumns = kFinishThreads * kFinishVectors * kVector;
  const auto parts = static_cast<unsigned>((f.y.width + kColumns - 1) / kColumns);
  launch_overlapped(finish_vectors_kernel, dim3(rows, parts), dim3(kFinishThreads), 0, stream, f);
}

}  // namespace tokamak::cuda
