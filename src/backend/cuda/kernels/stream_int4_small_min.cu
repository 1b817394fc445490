// The streaming kernel for codes of 4 bits, groups of 32 with minima.
#include "backend/cuda/kernels/stream_linear.cuh"

namespace tokamak::cuda {

void stream_int4_small_min(const StreamArg& a, cudaStream_t stream) {
  stream_by_dtype<4, kStreamSmall | kStreamMin>(a, stream);
}

}  // namespace tokamak::cuda
