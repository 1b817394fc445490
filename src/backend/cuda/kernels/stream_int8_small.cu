// The streaming kernel for codes of 8 bits, groups of 32.
#include "backend/cuda/kernels/stream_linear.cuh"

namespace tokamak::cuda {

void stream_int8_small(const StreamArg& a, cudaStream_t stream) {
  stream_by_dtype<8, kStreamSmall>(a, stream);
}

}  // namespace tokamak::cuda
