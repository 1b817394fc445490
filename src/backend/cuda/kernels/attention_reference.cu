// rope and attention: a block of threads per token and head.
#include "backend/cuda/kernels/alibi.cuh"
#include "backend/cuda/kernels/any.cuh"
#include "backend/cuda/kernels/rotate.cuh"

namespace tokamak::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kKeys = 128;  // scored at a time

__global__ void rope_kernel(RowsArg x, const int32_t* positions, RopeArg r, StepArg step,
                            RowsArg y) {
  extern __shared__ float head[];
  const int t = static_cast<int>(blockIdx.x);
  const int64_t begin = int64_t{blockIdx.y} * r.head_dim;
  for (int i = threadIdx.x; i < r.head_dim; i += blockDim.x) head[i] = at(x, t, begin + i);
  __syncthreads();
  const int64_t length = step.context_len[sequence_of(step, t)];
  for (int i = threadIdx.x; i < r.head_dim; i += blockDim.x)
    put(y, t, begin + i, turned(r, head, length, positions[t], i));
}

// A head of a row, normed and turned, into `out`; `scratch` is as large.
__device__ void load_head(const AttentionArg& a, const RowsArg& x, const RowsArg& weight, int64_t t,
                          int head, int64_t length, float* scratch, float* out, float* shared) {
  float square = 0;
  for (int i = threadIdx.x; i < a.head_dim; i += blockDim.x) {
    scratch[i] = at(x, t, int64_t{head} * a.head_dim + i);
    square += scratch[i] * scratch[i];
  }
  if (a.qk_norm) {
    const float mean = block_sum(square, shared) / static_cast<float>(a.head_dim);
    const float scale = 1 / sqrtf(mean + a.qk_eps);
    for (int i = threadIdx.x; i < a.head_dim; i += blockDim.x)
      scratch[i] *= scale * at(weight, 0, i);
  }
  __syncthreads();
  for (int i = threadIdx.x; i < a.head_dim; i += blockDim.x)
    out[i] = a.has_rope ? turned(a.rope, scratch, length, a.positions[t], i) : scratch[i];
  __syncthreads();
}

__device__ int64_t kv_row_bytes(const AttentionArg& a) {
  if (a.kv_dtype == DType::int8_row) return 2 + a.head_dim;
  return int64_t{a.head_dim} * (a.kv_dtype == DType::f32 ? 4 : a.kv_dtype == DType::f8e4m3 ? 1 : 2);
}
__device__ uint8_t* cache_row(const AttentionArg& a, const StepArg& step, uint8_t* pool, int seq,
                              int kv_head, int64_t j) {
  const int64_t block = step.block_table[int64_t{seq} * step.block_table_stride + j / a.block_size];
  return pool +
         ((block * a.kv_heads + kv_head) * a.block_size + j % a.block_size) * kv_row_bytes(a);
}
// scale: what codes of f8e4m3 count; 1 for other dtypes.
__device__ float cache_at(const AttentionArg& a, const uint8_t* row, float scale, int i) {
  if (a.kv_dtype == DType::int8_row)
    return half_at(row) * static_cast<float>(static_cast<int8_t>(row[2 + i]));
  return scale * load_any(a.kv_dtype, row, i);
}

__device__ void store_cache(const AttentionArg& a, const float* head, float codes_scale,
                            uint8_t* row, float* shared) {
  if (a.kv_dtype != DType::int8_row) {
    for (int i = threadIdx.x; i < a.head_dim; i += blockDim.x)
      store_any(a.kv_dtype, row, i, head[i] / codes_scale);
    return;
  }
  float largest = 0;
  for (int i = threadIdx.x; i < a.head_dim; i += blockDim.x)
    largest = fmaxf(largest, fabsf(head[i]));
  largest = block_reduce(largest, shared, [](float x, float y) { return fmaxf(x, y); });
  const __half h = __float2half_rn(fminf(largest / 127, 65504.f));
  const float scale = __half2float(h);
  if (threadIdx.x == 0) {
    row[0] = static_cast<uint8_t>(__half_as_ushort(h) & 255);
    row[1] = static_cast<uint8_t>(__half_as_ushort(h) >> 8);
  }
  for (int i = threadIdx.x; i < a.head_dim; i += blockDim.x) {
    const float code = scale > 0 ? rintf(head[i] / scale) : 0;
    row[2 + i] = static_cast<uint8_t>(static_cast<int8_t>(fminf(fmaxf(code, -127.f), 127.f)));
  }
}

// Block (token, KV head): this step's key and value enter the cache.
__global__ void append_kernel(AttentionArg a, StepArg step) {
  extern __shared__ float memory[];
  __shared__ float shared[32];
  float *scratch = memory, *head = memory + a.head_dim;
  const int t = static_cast<int>(blockIdx.x), kv_head = static_cast<int>(blockIdx.y);
  const int seq = sequence_of(step, t);
  const int64_t length = step.context_len[seq];
  const int64_t place = length - (step.query_begin[seq + 1] - t);
  load_head(a, a.k, a.k_weight, t, kv_head, length, scratch, head, shared);
  store_cache(a, head, a.k_scale, cache_row(a, step, a.k_cache, seq, kv_head, place), shared);
  __syncthreads();
  for (int i = threadIdx.x; i < a.head_dim; i += blockDim.x)
    head[i] = at(a.v, t, int64_t{kv_head} * a.head_dim + i);
  __syncthreads();
  store_cache(a, head, a.v_scale, cache_row(a, step, a.v_cache, seq, kv_head, place), shared);
}

// Block (token, head): keys in turns of kKeys with a running maximum.
__global__ void attend_kernel(AttentionArg a, StepArg step) {
  extern __shared__ float memory[];
  __shared__ float shared[32], scores[kKeys];
  float *scratch = memory, *q = memory + a.head_dim, *acc = memory + 2 * a.head_dim;
  const int t = static_cast<int>(blockIdx.x), head = static_cast<int>(blockIdx.y);
  const int kv_head = head / (a.heads / a.kv_heads), seq = sequence_of(step, t);
  const int64_t length = step.context_len[seq];
  const int64_t place = length - (step.query_begin[seq + 1] - t);
  load_head(a, a.q, a.q_weight, t, head, length, scratch, q, shared);
  for (int i = threadIdx.x; i < a.head_dim; i += blockDim.x) acc[i] = 0;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = kThreads / 32;
  float max = -INFINITY, sum = 0;
  const int64_t first = a.window > 0 && place >= a.window ? place - a.window + 1 : 0;
  for (int64_t begin = first; begin <= place; begin += kKeys) {
    const int n = static_cast<int>(place + 1 - begin < kKeys ? place + 1 - begin : kKeys);
    for (int j = warp; j < n; j += warps) {
      const uint8_t* row = cache_row(a, step, a.k_cache, seq, kv_head, begin + j);
      float s = 0;
      for (int i = lane; i < a.head_dim; i += 32) s = fmaf(q[i], cache_at(a, row, a.k_scale, i), s);
      for (int d = 16; d > 0; d /= 2) s += __shfl_xor_sync(0xffffffffu, s, d);
      s *= a.scale;
      if (a.softcap > 0) s = a.softcap * tanhf(s / a.softcap);
      if (a.alibi > 0) s += alibi_slope(a.alibi, head) * static_cast<float>(begin + j - place);
      if (lane == 0) scores[j] = s;
    }
    __syncthreads();
    float m = max;
    for (int j = 0; j < n; ++j) m = fmaxf(m, scores[j]);
    const float shrink = expf(max - m);
    float part = 0;
    for (int j = 0; j < n; ++j) part += expf(scores[j] - m);
    sum = sum * shrink + part;
    max = m;
    for (int i = threadIdx.x; i < a.head_dim; i += blockDim.x) {
      float v = acc[i] * shrink;
      for (int j = 0; j < n; ++j)
        v = fmaf(expf(scores[j] - m),
                 cache_at(a, cache_row(a, step, a.v_cache, seq, kv_head, begin + j), a.v_scale, i),
                 v);
      acc[i] = v;
    }
    __syncthreads();
  }
  for (int i = threadIdx.x; i < a.head_dim; i += blockDim.x)
    put(a.y, t, int64_t{head} * a.head_dim + i, acc[i] / sum);
}

}  // namespace

void rope(RowsArg x, const int32_t* positions, const RopeArg& r, const StepArg& step, RowsArg y,
          cudaStream_t stream) {
  if (x.rows == 0) return;
  const dim3 grid(static_cast<unsigned>(x.rows), static_cast<unsigned>(x.width / r.head_dim));
  rope_kernel<<<grid, kThreads, static_cast<size_t>(r.head_dim) * 4, stream>>>(x, positions, r,
                                                                               step, y);
}

void attention(const AttentionArg& a, const StepArg& step, cudaStream_t stream) {
  if (step.tokens == 0) return;
  const auto tokens = static_cast<unsigned>(step.tokens);
  const size_t head = static_cast<size_t>(a.head_dim) * 4;
  append_kernel<<<dim3(tokens, static_cast<unsigned>(a.kv_heads)), kThreads, 2 * head, stream>>>(
      a, step);
  attend_kernel<<<dim3(tokens, static_cast<unsigned>(a.heads)), kThreads, 3 * head, stream>>>(a,
                                                                                              step);
}

}  // namespace tokamak::cuda
