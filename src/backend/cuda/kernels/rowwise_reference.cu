// A block of threads per row: norms, reduce, softmax, embedding, linear.
#include "backend/cuda/kernels/activate.cuh"
#include "backend/cuda/kernels/any.cuh"

namespace tokamak::cuda {
namespace {

constexpr int kThreads = 256;

// max that hands on NaN.
__device__ float max_nan(float a, float b) { return a > b || isnan(a) ? a : b; }

__device__ float row_max(const RowsArg& x, int64_t r, float* shared) {
  float m = -INFINITY;
  for (int64_t i = threadIdx.x; i < x.width; i += blockDim.x) m = max_nan(m, at(x, r, i));
  return block_reduce(m, shared, [](float a, float b) { return max_nan(a, b); });
}

__global__ void reduce_kernel(ReduceKind kind, RowsArg x, RowsArg y) {
  __shared__ float shared[32];
  const int64_t r = blockIdx.x;
  float v = 0;
  if (kind == ReduceKind::max) {
    v = row_max(x, r, shared);
  } else {
    for (int64_t i = threadIdx.x; i < x.width; i += blockDim.x) v += at(x, r, i);
    v = block_sum(v, shared);
    if (kind == ReduceKind::mean) v /= static_cast<float>(x.width);
  }
  if (threadIdx.x == 0) put(y, r, 0, v);
}

__global__ void softmax_kernel(RowsArg x, RowsArg y) {
  __shared__ float shared[32];
  const int64_t r = blockIdx.x;
  const float max = row_max(x, r, shared);
  float sum = 0;
  for (int64_t i = threadIdx.x; i < x.width; i += blockDim.x) sum += expf(at(x, r, i) - max);
  sum = block_sum(sum, shared);
  for (int64_t i = threadIdx.x; i < x.width; i += blockDim.x)
    put(y, r, i, expf(at(x, r, i) - max) / sum);
}

// The sum may be stored over the residual: a thread reads an element before it writes it.
__global__ void norm_kernel(NormArg n) {
  __shared__ float shared[32];
  const int64_t r = blockIdx.x, width = n.x.width;
  const bool adds = n.residual.data != nullptr;
  const auto value = [&](int64_t i) {
    return adds ? at(n.x, r, i) + at(n.residual, r, i) : at(n.x, r, i);
  };
  if (adds)
    for (int64_t i = threadIdx.x; i < width; i += blockDim.x) put(n.sum, r, i, value(i));
  const RowsArg& x = adds ? n.sum : n.x;  // what was rounded to the sum's dtype
  float mean = 0;
  if (n.centered) {
    for (int64_t i = threadIdx.x; i < width; i += blockDim.x) mean += at(x, r, i);
    mean = block_sum(mean, shared) / static_cast<float>(width);
  }
  float square = 0;
  for (int64_t i = threadIdx.x; i < width; i += blockDim.x) {
    const float d = at(x, r, i) - mean;
    square += d * d;
  }
  const float scale = 1 / sqrtf(block_sum(square, shared) / static_cast<float>(width) + n.eps);
  for (int64_t i = threadIdx.x; i < width; i += blockDim.x) {
    const float bias = n.bias.data ? at(n.bias, 0, i) : 0.f;
    put(n.y, r, i, (at(x, r, i) - mean) * scale * at(n.weight, 0, i) + bias);
  }
}

WeightArg weight_arg(const WeightRef& w) {
  WeightArg a;
  a.data = static_cast<const uint8_t*>(w.data);
  a.rows = w.rows;
  a.width = w.width;
  a.row_bytes = static_cast<int64_t>(row_bytes(w.dtype, w.width));
  a.dtype = w.dtype;
  if (w.dtype > DType::q6_k) {
    const GroupFormat f = group_format(w.dtype);
    a.bits = f.bits;
    a.group = f.group > 0 ? f.group : static_cast<int>(w.width);
    a.has_min = f.has_min;
  }
  return a;
}

__global__ void embedding_kernel(const int32_t* ids, WeightArg table, float scale, RowsArg y) {
  const int64_t r = blockIdx.x;
  for (int64_t i = threadIdx.x; i < y.width; i += blockDim.x)
    put(y, r, i, weight_at(table, ids[r], i) * scale);
}

// Block (n, token): one dot product.
__global__ void linear_kernel(LinearArg l, WeightArg w, WeightArg w_b) {
  __shared__ float shared[32];
  const int64_t n = blockIdx.x, t = blockIdx.y + int64_t{blockIdx.z} * gridDim.y;
  if (t >= l.y.rows) return;
  float a = 0, b = 0;
  for (int64_t i = threadIdx.x; i < l.x.width; i += blockDim.x) {
    const float x = at(l.x, t, i);
    a = fmaf(x, weight_at(w, n, i), a);
    if (w_b.data) b = fmaf(x, weight_at(w_b, n, i), b);
  }
  a = block_sum(a, shared);
  if (w_b.data) b = block_sum(b, shared);
  if (threadIdx.x != 0) return;
  if (l.bias.data) a += at(l.bias, 0, n);
  float v = apply(l.activation, a);
  if (w_b.data) v *= b + (l.bias_b.data ? at(l.bias_b, 0, n) : 0.f);
  if (l.residual.data) v += at(l.residual, t, n);
  put(l.y, t, n, v);
}

}  // namespace

void reduce(ReduceKind kind, RowsArg x, RowsArg y, cudaStream_t stream) {
  if (x.rows > 0)
    reduce_kernel<<<static_cast<unsigned>(x.rows), kThreads, 0, stream>>>(kind, x, y);
}
void softmax(RowsArg x, RowsArg y, cudaStream_t stream) {
  if (x.rows > 0) softmax_kernel<<<static_cast<unsigned>(x.rows), kThreads, 0, stream>>>(x, y);
}
void norm(const NormArg& n, cudaStream_t stream) {
  if (n.x.rows > 0) norm_kernel<<<static_cast<unsigned>(n.x.rows), kThreads, 0, stream>>>(n);
}
void embedding(const int32_t* ids, WeightRef table, float scale, RowsArg y, cudaStream_t stream) {
  if (y.rows > 0)
    embedding_kernel<<<static_cast<unsigned>(y.rows), kThreads, 0, stream>>>(
        ids, weight_arg(table), scale, y);
}
void linear(const LinearArg& l, cudaStream_t stream) {
  if (l.y.rows == 0) return;
  constexpr int64_t kMaxY = 32768;
  const int64_t z = (l.y.rows + kMaxY - 1) / kMaxY, y = z > 1 ? kMaxY : l.y.rows;
  const dim3 grid(static_cast<unsigned>(l.y.width), static_cast<unsigned>(y),
                  static_cast<unsigned>(z));
  linear_kernel<<<grid, 128, 0, stream>>>(l, weight_arg(l.w),
                                          l.w_b.data ? weight_arg(l.w_b) : WeightArg{});
}

}  // namespace tokamak::cuda
