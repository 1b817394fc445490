#include "backend/cuda/kernels/tile_linear.cuh"

namespace tokamak::cuda {

void tile_linear_f16(const TileArg& a, cudaStream_t stream) { tile_linear_of<__half>(a, stream); }

}  // namespace tokamak::cuda
