#include "backend/cuda/kernels/tile_linear.cuh"

namespace tokamak::cuda {

void tile_linear_f8(const TileArg& a, cudaStream_t stream) { tile_linear_of<Codes>(a, stream); }

}  // namespace tokamak::cuda
