// Rows copied by 16 bytes: embedding and gather_rows.
#include <algorithm>

#include "backend/cuda/kernels/launch.cuh"
#include "backend/cuda/kernels/vector.cuh"
#include "backend/cuda/kernels/vectors.h"

namespace tokamak::cuda {
namespace {

constexpr int kMaxThreads = 512;

unsigned threads_for(int64_t vectors) {
  return static_cast<unsigned>(std::clamp<int64_t>((vectors + 31) / 32 * 32, 32, kMaxThreads));
}

__global__ void embedding_kernel(const int32_t* ids, RowsArg table, float scale, RowsArg y) {
  let_next_start();
  wait_for_previous();
  const int64_t r = blockIdx.x, id = ids[r];
  for (int64_t c = threadIdx.x; c < y.width / kVector; c += blockDim.x) {
    float f[kVector];
    widen8(table.dtype, load8(table.dtype, vector_at(table, id, c)), f);
#pragma unroll
    for (int i = 0; i < kVector; ++i) f[i] *= scale;
    store8(y.dtype, vector_at(y, r, c), narrow8(y.dtype, f));
  }
}

// Rows in units of 16 bytes.
__global__ void gather_kernel(RowsArg x, const int32_t* index, int64_t group, RowsArg y) {
  let_next_start();
  wait_for_previous();
  const int64_t r = blockIdx.x, from = index[r / group] * group + r % group;
  for (int64_t c = threadIdx.x; c < y.width; c += blockDim.x)
    static_cast<uint4*>(y.data)[r * y.stride + c] =
        static_cast<const uint4*>(x.data)[from * x.stride + c];
}

bool to_units(RowsArg& x, int bytes) {
  if (reinterpret_cast<uintptr_t>(x.data) % 16 != 0 || x.width * bytes % 16 != 0 ||
      x.stride * bytes % 16 != 0)
    return false;
  x.width = x.width * bytes / 16;
  x.stride = x.stride * bytes / 16;
  return true;
}

}  // namespace

void embedding_vectors(const int32_t* ids, WeightRef table, float scale, RowsArg y,
                       cudaStream_t stream) {
  if (y.rows == 0) return;
  RowsArg t;
  t.data = const_cast<void*>(table.data);  // it is only read
  t.rows = table.rows;
  t.width = t.stride = table.width;
  t.dtype = table.dtype;
  if (!has_vectors(t) || !has_vectors(y)) return embedding(ids, table, scale, y, stream);
  launch_overlapped(embedding_kernel, dim3(static_cast<unsigned>(y.rows)),
                    dim3(threads_for(y.width / kVector)), 0, stream, ids, t, scale, y);
}

void gather_vectors(RowsArg x, const int32_t* index, int64_t group, RowsArg y, int bytes,
                    cudaStream_t stream) {
  if (y.rows == 0) return;
  RowsArg from = x, to = y;
  if (!to_units(from, bytes) || !to_units(to, bytes))
    return gather(x, index, group, y, bytes, stream);
  launch_overlapped(gather_kernel, dim3(static_cast<unsigned>(to.rows)),
                    dim3(threads_for(to.width)), 0, stream, from, index, group, to);
}

}  // namespace tokamak::cuda
