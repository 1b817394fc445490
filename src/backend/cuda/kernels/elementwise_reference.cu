#include "backend/cuda/kernels/activate.cuh"
#include "backend/cuda/kernels/any.cuh"

namespace tokamak::cuda {
namespace {

constexpr int kThreads = 256;

unsigned blocks_for(int64_t n) {
  const int64_t blocks = (n + kThreads - 1) / kThreads;
  return static_cast<unsigned>(blocks < 65536 ? blocks : 65536);
}
__device__ int64_t first_index() { return blockIdx.x * int64_t{blockDim.x} + threadIdx.x; }
__device__ int64_t index_step() { return gridDim.x * int64_t{blockDim.x}; }

__global__ void fill_kernel(RowsArg y, float value) {
  for (int64_t i = first_index(); i < y.rows * y.width; i += index_step())
    put(y, i / y.width, i % y.width, value);
}

__global__ void map_kernel(MapKind kind, float cap, RowsArg x, RowsArg y) {
  for (int64_t i = first_index(); i < y.rows * y.width; i += index_step())
    put(y, i / y.width, i % y.width, apply(kind, at(x, i / y.width, i % y.width), cap));
}

__device__ int64_t mapped(const RowMap& m, int64_t r) {
  int64_t row = 0;
  for (int d = 0; d < m.dims; ++d) {
    row += r % m.size[d] * m.step[d];
    r /= m.size[d];
  }
  return row;
}

__global__ void pair_kernel(PairKind kind, RowsArg a, RowMap map_a, RowsArg b, RowMap map_b,
                            RowsArg y) {
  for (int64_t i = first_index(); i < y.rows * y.width; i += index_step()) {
    const int64_t r = i / y.width, c = i % y.width;
    const float va = at(a, mapped(map_a, r), a.width == 1 ? 0 : c);
    const float vb = at(b, mapped(map_b, r), b.width == 1 ? 0 : c);
    put(y, r, c, apply(kind, va, vb));
  }
}

__global__ void glu_kernel(MapKind activation, RowsArg a, RowsArg b, RowsArg y) {
  for (int64_t i = first_index(); i < y.rows * y.width; i += index_step()) {
    const int64_t r = i / y.width, c = i % y.width;
    put(y, r, c, apply(activation, at(a, r, c)) * at(b, r, c));
  }
}

template <typename T>
__global__ void reshape_kernel(RowsArg x, RowsArg y) {
  for (int64_t i = first_index(); i < y.rows * y.width; i += index_step())
    static_cast<T*>(y.data)[i / y.width * y.stride + i % y.width] =
        static_cast<const T*>(x.data)[i / x.width * x.stride + i % x.width];
}

template <typename T>
__global__ void gather_kernel(RowsArg x, const int32_t* index, int64_t group, RowsArg y) {
  for (int64_t i = first_index(); i < y.rows * y.width; i += index_step()) {
    const int64_t r = i / y.width, from = index[r / group] * group + r % group;
    static_cast<T*>(y.data)[r * y.stride + i % y.width] =
        static_cast<const T*>(x.data)[from * x.stride + i % y.width];
  }
}

// f<T>() for the unsigned type of so many bytes.
template <typename F>
void by_size(int bytes, F f) {
  if (bytes == 1) f.template operator()<uint8_t>();
  if (bytes == 2) f.template operator()<uint16_t>();
  if (bytes == 4) f.template operator()<uint32_t>();
  if (bytes == 8) f.template operator()<uint64_t>();
}

}  // namespace

void fill(RowsArg y, float value, cudaStream_t stream) {
  if (y.rows * y.width > 0)
    fill_kernel<<<blocks_for(y.rows * y.width), kThreads, 0, stream>>>(y, value);
}
void map(MapKind kind, float cap, RowsArg x, RowsArg y, cudaStream_t stream) {
  if (y.rows * y.width > 0)
    map_kernel<<<blocks_for(y.rows * y.width), kThreads, 0, stream>>>(kind, cap, x, y);
}
void pair(PairKind kind, RowsArg a, RowMap map_a, RowsArg b, RowMap map_b, RowsArg y,
          cudaStream_t stream) {
  if (y.rows * y.width > 0)
    pair_kernel<<<blocks_for(y.rows * y.width), kThreads, 0, stream>>>(kind, a, map_a, b, map_b,
                                                                       y);
}
void glu(MapKind activation, RowsArg a, RowsArg b, RowsArg y, cudaStream_t stream) {
  if (y.rows * y.width > 0)
    glu_kernel<<<blocks_for(y.rows * y.width), kThreads, 0, stream>>>(activation, a, b, y);
}
void reshape(RowsArg x, RowsArg y, int element_bytes, cudaStream_t stream) {
  if (y.rows * y.width == 0) return;
  by_size(element_bytes, [&]<typename T>() {
    reshape_kernel<T><<<blocks_for(y.rows * y.width), kThreads, 0, stream>>>(x, y);
  });
}
void gather(RowsArg x, const int32_t* index, int64_t group, RowsArg y, int element_bytes,
            cudaStream_t stream) {
  if (y.rows * y.width == 0) return;
  by_size(element_bytes, [&]<typename T>() {
    gather_kernel<T><<<blocks_for(y.rows * y.width), kThreads, 0, stream>>>(x, index, group, y);
  });
}

}  // namespace tokamak::cuda
