// Elementwise ops, eight elements a thread.
#include <algorithm>

#include "backend/cuda/kernels/activate.cuh"
#include "backend/cuda/kernels/launch.cuh"
#include "backend/cuda/kernels/vector.cuh"
#include "backend/cuda/kernels/vectors.h"

namespace tokamak::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kAnyKind = -1;  // chosen in the kernel: for the rare ones

// The same as apply, without a branch per sign.
template <int K>
__device__ inline float mapped(MapKind kind, float x, float cap) {
  if constexpr (K == static_cast<int>(MapKind::silu)) return __fdividef(x, 1.f + expf(-x));
  if constexpr (K != kAnyKind) return apply(static_cast<MapKind>(K), x, cap);
  return apply(kind, x, cap);
}

// f(row, vector) for all vectors of y.
template <typename F>
__device__ inline void each_vector(const RowsArg& y, F f) {
  const int64_t vectors = y.width / kVector;
  for (int64_t r = blockIdx.y; r < y.rows; r += gridDim.y)
    for (int64_t c = blockIdx.x * int64_t{blockDim.x} + threadIdx.x; c < vectors;
         c += int64_t{gridDim.x} * blockDim.x)
      f(r, c);
}
__device__ inline void read(const RowsArg& x, int64_t r, int64_t c, float (&f)[kVector]) {
  widen8(x.dtype, load8(x.dtype, vector_at(x, r, c)), f);
}

template <int K>
__global__ __launch_bounds__(kThreads) void map_kernel(MapKind kind, float cap, RowsArg x,
                                                       RowsArg y) {
  let_next_start();
  wait_for_previous();
  each_vector(y, [&](int64_t r, int64_t c) {
    float f[kVector];
    read(x, r, c, f);
#pragma unroll
    for (int i = 0; i < kVector; ++i) f[i] = mapped<K>(kind, f[i], cap);
    store8(y.dtype, vector_at(y, r, c), narrow8(y.dtype, f));
  });
}

template <int K>
__global__ __launch_bounds__(kThreads) void glu_kernel(MapKind kind, RowsArg a, RowsArg b,
                                                       RowsArg y) {
  let_next_start();
  wait_for_previous();
  each_vector(y, [&](int64_t r, int64_t c) {
    const Raw8 raw_a = load8(a.dtype, vector_at(a, r, c)),
               raw_b = load8(b.dtype, vector_at(b, r, c));
    float f[kVector], g[kVector];
    widen8(a.dtype, raw_a, f);
    widen8(b.dtype, raw_b, g);
#pragma unroll
    for (int i = 0; i < kVector; ++i) f[i] = mapped<K>(kind, f[i], 0) * g[i];
    store8(y.dtype, vector_at(y, r, c), narrow8(y.dtype, f));
  });
}

// Of an operand: its own row for each row of the result, or one for all; one number of a row, or
// all of it.
struct Stretch {
  bool one_row = false, one_column = false;
};
__device__ inline float number_at(const RowsArg& x, int64_t r) {
  const auto* p = static_cast<const uint8_t*>(x.data) + r * x.stride * element_bytes(x.dtype);
  if (x.dtype == DType::f32) return *reinterpret_cast<const float*>(p);
  if (x.dtype == DType::bf16) return __bfloat162float(*reinterpret_cast<const __nv_bfloat16*>(p));
  return __half2float(*reinterpret_cast<const __half*>(p));
}
__device__ inline void read(const RowsArg& x, Stretch s, int64_t r, int64_t c,
                            float (&f)[kVector]) {
  const int64_t row = s.one_row ? 0 : r;
  if (!s.one_column) return read(x, row, c, f);
  const float v = number_at(x, row);
#pragma unroll
  for (int i = 0; i < kVector; ++i) f[i] = v;
}

__global__ __launch_bounds__(kThreads) void pair_kernel(PairKind kind, RowsArg a, Stretch sa,
                                                        RowsArg b, Stretch sb, RowsArg y) {
  let_next_start();
  wait_for_previous();
  each_vector(y, [&](int64_t r, int64_t c) {
    float f[kVector], g[kVector];
    read(a, sa, r, c, f);
    read(b, sb, r, c, g);
#pragma unroll
    for (int i = 0; i < kVector; ++i) f[i] = apply(kind, f[i], g[i]);
    store8(y.dtype, vector_at(y, r, c), narrow8(y.dtype, f));
  });
}

bool is_dense(const RowsArg& x) { return x.rows == 1 || x.stride == x.width; }
void make_one_row(RowsArg& x) {
  x.width *= x.rows;
  x.rows = 1;
}

dim3 grid_for(const RowsArg& y) {
  const int64_t blocks = (y.width / kVector + kThreads - 1) / kThreads;
  return dim3(static_cast<unsigned>(std::min<int64_t>(blocks, 65536)),
              static_cast<unsigned>(std::min<int64_t>(y.rows, 32768)));
}

// f<K>() for the kinds that have kernels of their own.
template <typename F>
void by_kind(MapKind kind, F f) {
  switch (kind) {
    case MapKind::silu:
      return f.template operator()<static_cast<int>(MapKind::silu)>();
    case MapKind::gelu:
      return f.template operator()<static_cast<int>(MapKind::gelu)>();
    case MapKind::gelu_tanh:
      return f.template operator()<static_cast<int>(MapKind::gelu_tanh)>();
    case MapKind::copy:
      return f.template operator()<static_cast<int>(MapKind::copy)>();
    default:
      f.template operator()<kAnyKind>();
  }
}

// How the operand meets the result's rows; false: in a way that only the reference knows.
bool stretch_of(const RowsArg& x, const RowMap& m, const RowsArg& y, Stretch& s) {
  int64_t stride = 1;
  bool own = true, one = true;
  for (int d = 0; d < m.dims; ++d) {
    own = own && (m.size[d] == 1 || m.step[d] == stride);
    one = one && (m.size[d] == 1 || m.step[d] == 0);
    stride *= m.size[d];
  }
  s.one_row = one;
  s.one_column = x.width == 1 && y.width > 1;
  if (!own && !one) return false;
  const bool plain = x.dtype == DType::f32 || x.dtype == DType::f16 || x.dtype == DType::bf16;
  return s.one_column ? plain : x.width == y.width && has_vectors(x);
}

}  // namespace

void map_vectors(MapKind kind, float cap, RowsArg x, RowsArg y, cudaStream_t stream) {
  if (y.rows * y.width == 0) return;
  if (is_dense(x) && is_dense(y)) {
    make_one_row(x);
    make_one_row(y);
  }
  if (!has_vectors(x) || !has_vectors(y)) return map(kind, cap, x, y, stream);
  by_kind(kind, [&]<int K>() {
    launch_overlapped(map_kernel<K>, grid_for(y), dim3(kThreads), 0, stream, kind, cap, x, y);
  });
}

void glu_vectors(MapKind kind, RowsArg a, RowsArg b, RowsArg y, cudaStream_t stream) {
  if (y.rows * y.width == 0) return;
  if (is_dense(a) && is_dense(b) && is_dense(y))
    for (RowsArg* x : {&a, &b, &y}) make_one_row(*x);
  if (!has_vectors(a) || !has_vectors(b) || !has_vectors(y)) return glu(kind, a, b, y, stream);
  by_kind(kind, [&]<int K>() {
    launch_overlapped(glu_kernel<K>, grid_for(y), dim3(kThreads), 0, stream, kind, a, b, y);
  });
}

void pair_vectors(PairKind kind, RowsArg a, RowMap map_a, RowsArg b, RowMap map_b, RowsArg y,
                  cudaStream_t stream) {
  if (y.rows * y.width == 0) return;
  Stretch sa, sb;
  if (!has_vectors(y) || !stretch_of(a, map_a, y, sa) || !stretch_of(b, map_b, y, sb))
    return pair(kind, a, map_a, b, map_b, y, stream);
  launch_overlapped(pair_kernel, grid_for(y), dim3(kThreads), 0, stream, kind, a, sa, b, sb, y);
}

}  // namespace tokamak::cuda
