// A row is read once and stays in registers: norms and softmax. Wide rows have a block each, rows
// of up to 256 elements a warp each. How many threads share a row depends on how many rows there
// are; what comes of it does not.
#include "backend/cuda/kernels/any.cuh"
#include "backend/cuda/kernels/launch.cuh"
#include "backend/cuda/kernels/vector.cuh"
#include "backend/cuda/kernels/vectors.h"

namespace tokamak::cuda {
namespace {

constexpr int kWarpRows = 8, kMaxThreads = 512, kManyRows = 512, kMostVectors = 8;  // of a thread
constexpr int kMaxStretches = kMostVectors * kMaxThreads / 32;

// Over the threads of a row; warps do without the block.
template <typename F>
__device__ float row_reduce(float v, float* shared, F f) {
  if (blockDim.x > 32) return block_reduce(v, shared, f);
  for (int d = 16; d > 0; d /= 2) v = f(v, __shfl_xor_sync(0xffffffffu, v, d));
  return v;
}
// The sum of what a thread has of each of its vectors. Always in the same order: a row's vectors in
// stretches of 32, then these one after the other.
template <int V>
__device__ float row_sum(float (&part)[V], int64_t width, float* shared) {
#pragma unroll
  for (int v = 0; v < V; ++v)
    for (int d = 16; d > 0; d /= 2) part[v] += __shfl_xor_sync(0xffffffffu, part[v], d);
  if (blockDim.x == 32) return part[0];
  const unsigned warps = blockDim.x / 32;
  const auto stretches = static_cast<int>((width / kVector + 31) / 32);
  __syncthreads();
#pragma unroll
  for (int v = 0; v < V; ++v)
    if (threadIdx.x % 32 == 0) shared[v * warps + threadIdx.x / 32] = part[v];
  __syncthreads();
  float sum = shared[0];
  for (int i = 1; i < stretches; ++i) sum += shared[i];
  return sum;
}

// V: vectors that a thread holds; f(v, vector) for each.
template <int V, typename F>
__device__ inline void each_vector(int64_t width, F f) {
#pragma unroll
  for (int v = 0; v < V; ++v) {
    const int64_t c = v * int64_t{blockDim.x} + threadIdx.x;
    if (c < width / kVector) f(v, c);
  }
}

__device__ inline void add_row(const NormArg& n, int64_t r, int64_t c, const Raw8& residual,
                               float (&x)[kVector]) {
  float add[kVector];
  widen8(n.residual.dtype, residual, add);
#pragma unroll
  for (int i = 0; i < kVector; ++i) x[i] += add[i];
  const Raw8 sum = narrow8(n.sum.dtype, x);
  store8(n.sum.dtype, vector_at(n.sum, r, c), sum);
  widen8(n.sum.dtype, sum, x);
}

// The rounded sum replaces x, and may be stored over the residual.
template <int V>
__device__ void load_row(const NormArg& n, int64_t r, float (&x)[V][kVector]) {
  constexpr int kAtOnce = V < 2 ? V : 2;
  const int64_t vectors = n.x.width / kVector;
#pragma unroll
  for (int v0 = 0; v0 < V; v0 += kAtOnce) {
    Raw8 raw[kAtOnce], residual[kAtOnce];
    int64_t c[kAtOnce];
#pragma unroll
    for (int v = 0; v < kAtOnce; ++v) {
      c[v] = (v0 + v) * int64_t{blockDim.x} + threadIdx.x;
      if (c[v] >= vectors) continue;
      raw[v] = load8(n.x.dtype, vector_at(n.x, r, c[v]));
      if (n.residual.data) residual[v] = load8(n.residual.dtype, vector_at(n.residual, r, c[v]));
    }
#pragma unroll
    for (int v = 0; v < kAtOnce; ++v) {
      if (c[v] >= vectors) continue;
      widen8(n.x.dtype, raw[v], x[v0 + v]);
      if (n.residual.data) add_row(n, r, c[v], residual[v], x[v0 + v]);
    }
  }
}

template <int V>
__global__ __launch_bounds__(kMaxThreads) void norm_kernel(NormArg n) {
  constexpr bool kEarly = V <= 2;  // weights wait in registers

  __shared__ float shared[kMaxStretches];
  const int64_t r = int64_t{blockIdx.x} * blockDim.y + threadIdx.y, width = n.x.width;
  let_next_start();
  Raw8 weight[V], bias[V];
  const auto load_weights = [&](int v, int64_t c) {
    weight[v] = load8(n.weight.dtype, vector_at(n.weight, 0, c));
    if (n.bias.data) bias[v] = load8(n.bias.dtype, vector_at(n.bias, 0, c));
  };
  if (kEarly) each_vector<V>(width, load_weights);
  wait_for_previous();
  if (r >= n.x.rows) return;
  float x[V][kVector] = {};
  load_row<V>(n, r, x);
  const auto count = static_cast<float>(width);
  float mean = 0, squares[V] = {};
  if (n.centered) {
    float sums[V] = {};
    each_vector<V>(width, [&](int v, int64_t) {
#pragma unroll
      for (int i = 0; i < kVector; ++i) sums[v] += x[v][i];
    });
    mean = row_sum(sums, width, shared) / count;
  }
  each_vector<V>(width, [&](int v, int64_t) {
#pragma unroll
    for (int i = 0; i < kVector; ++i) {
      x[v][i] -= mean;
      squares[v] += x[v][i] * x[v][i];
    }
  });
  const float scale = 1 / sqrtf(row_sum(squares, width, shared) / count + n.eps);
  each_vector<V>(width, [&](int v, int64_t c) {
    if (!kEarly) load_weights(v, c);
    float w[kVector], b[kVector] = {};
    widen8(n.weight.dtype, weight[v], w);
    if (n.bias.data) widen8(n.bias.dtype, bias[v], b);
#pragma unroll
    for (int i = 0; i < kVector; ++i) w[i] = x[v][i] * scale * w[i] + b[i];
    store8(n.y.dtype, vector_at(n.y, r, c), narrow8(n.y.dtype, w));
  });
}

template <int V>
__global__ __launch_bounds__(kMaxThreads) void softmax_kernel(RowsArg x, RowsArg y) {
  __shared__ float shared[kMaxStretches];
  const int64_t r = int64_t{blockIdx.x} * blockDim.y + threadIdx.y;
  let_next_start();
  wait_for_previous();
  if (r >= x.rows) return;
  const auto larger = [](float a, float b) { return a > b || isnan(a) ? a : b; };
  float f[V][kVector], max = -INFINITY, sums[V] = {};
  Raw8 raw[V];
  each_vector<V>(x.width, [&](int v, int64_t c) { raw[v] = load8(x.dtype, vector_at(x, r, c)); });
  each_vector<V>(x.width, [&](int v, int64_t) {
    widen8(x.dtype, raw[v], f[v]);
#pragma unroll
    for (int i = 0; i < kVector; ++i) max = larger(max, f[v][i]);
  });
  max = row_reduce(max, shared, larger);
  each_vector<V>(x.width, [&](int v, int64_t) {
#pragma unroll
    for (int i = 0; i < kVector; ++i) sums[v] += f[v][i] = expf(f[v][i] - max);
  });
  const float sum = row_sum(sums, x.width, shared);
  each_vector<V>(x.width, [&](int v, int64_t c) {
#pragma unroll
    for (int i = 0; i < kVector; ++i) f[v][i] /= sum;
    store8(y.dtype, vector_at(y, r, c), narrow8(y.dtype, f[v]));
  });
}

// f<V>(grid, block) for rows of this width.
template <typename F>
void by_width(int64_t rows, int64_t width, F f) {
  const int64_t vectors = width / kVector;
  if (vectors <= 32) {
    const dim3 grid(static_cast<unsigned>((rows + kWarpRows - 1) / kWarpRows));
    return f.template operator()<1>(grid, dim3(32, kWarpRows));
  }
  const dim3 grid(static_cast<unsigned>(rows));
  // Few rows: the latency of one counts; many: loads in flight.
  const int64_t most = rows < kManyRows ? kMaxThreads : kMaxThreads / 4;
  const auto threads = [&](int64_t each) {
    return dim3(static_cast<unsigned>(((vectors + each - 1) / each + 31) / 32 * 32));
  };
  if (vectors <= most) return f.template operator()<1>(grid, threads(1));
  if (vectors <= 2 * most) return f.template operator()<2>(grid, threads(2));
  if (vectors <= 4 * most) return f.template operator()<4>(grid, threads(4));
  f.template operator()<kMostVectors>(grid, threads(kMostVectors));
}

}  // namespace

void norm_vectors(const NormArg& n, cudaStream_t stream) {
  if (n.x.rows == 0) return;
  if (n.x.width > kVectorsMaxWidth) return norm(n, stream);
  for (const RowsArg* o : {&n.x, &n.residual, &n.weight, &n.bias, &n.y, &n.sum})
    if (!has_vectors(*o)) return norm(n, stream);
  by_width(n.x.rows, n.x.width, [&]<int V>(dim3 grid, dim3 block) {
    launch_overlapped(norm_kernel<V>, grid, block, 0, stream, n);
  });
}

void softmax_vectors(RowsArg x, RowsArg y, cudaStream_t stream) {
  if (x.rows == 0) return;
  if (x.width > kVectorsMaxWidth || !has_vectors(x) || !has_vectors(y))
    return softmax(x, y, stream);
  by_width(x.rows, x.width, [&]<int V>(dim3 grid, dim3 block) {
    launch_overlapped(softmax_kernel<V>, grid, block, 0, stream, x, y);
  });
}

}  // namespace tokamak::cuda
