#include "backend/cuda/kernels/tile_linear.cuh"

namespace tokamak::cuda {

void tile_linear_bf16(const TileArg& a, cudaStream_t stream) {
  tile_linear_of<__nv_bfloat16>(a, stream);
}

}  // namespace tokamak::cuda
