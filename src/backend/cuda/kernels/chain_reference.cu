#include "backend/cuda/kernels/activate.cuh"
#include "backend/cuda/kernels/any.cuh"
#include "backend/cuda/kernels/chain.h"

namespace tokamak::cuda {
namespace {

constexpr int kThreads = 256;

__device__ int64_t mapped_row(const RowMap& m, int64_t r) {
  int64_t row = 0;
  for (int d = 0; d < m.dims; ++d) {
    row += r % m.size[d] * m.step[d];
    r /= m.size[d];
  }
  return row;
}

__device__ float operand(int8_t kind, int index, float value, const float* x, const float* t) {
  return kind == ChainCode::number ? value : kind == ChainCode::input ? x[index] : t[index];
}

__global__ void chain_kernel(const __grid_constant__ ChainCode code,
                             const __grid_constant__ ChainRows rows) {
  const RowsArg& y = rows.out[0];
  for (int64_t i = blockIdx.x * int64_t{blockDim.x} + threadIdx.x; i < y.rows * y.width;
       i += gridDim.x * int64_t{blockDim.x}) {
    const int64_t r = i / y.width, c = i % y.width;
    float x[ChainCode::kMaxInputs], t[ChainCode::kMaxSteps];
    for (int k = 0; k < code.inputs; ++k)
      x[k] = at(rows.in[k], mapped_row(rows.map[k], r), rows.in[k].width == 1 ? 0 : c);
    for (int k = 0; k < code.steps; ++k) {
      const ChainCode::Step& s = code.step_list[k];
      const float a = operand(s.a, s.a_index, s.a_value, x, t);
      if (s.function == ChainCode::map)
        t[k] = apply(static_cast<MapKind>(s.kind), a);
      else if (s.function == ChainCode::pair)
        t[k] = apply(static_cast<PairKind>(s.kind), a, operand(s.b, s.b_index, s.b_value, x, t));
      else if (s.function == ChainCode::round_f16)
        t[k] = __half2float(__float2half_rn(a));
      else
        t[k] = __bfloat162float(__float2bfloat16_rn(a));
    }
    for (int k = 0; k < code.outputs; ++k) put(rows.out[k], r, c, t[code.result[k]]);
  }
}

}  // namespace

void chain(const ChainCode& code, const ChainRows& rows, cudaStream_t stream) {
  const int64_t n = rows.out[0].rows * rows.out[0].width;
  if (n == 0) return;
  const int64_t blocks = (n + kThreads - 1) / kThreads;
  chain_kernel<<<static_cast<unsigned>(blocks < 65536 ? blocks : 65536), kThreads, 0, stream>>>(
      code, rows);
}

}  // namespace tokamak::cuda
