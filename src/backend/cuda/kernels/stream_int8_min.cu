// The streaming kernel for codes of 8 bits with minima.
#include "backend/cuda/kernels/stream_linear.cuh"

namespace tokamak::cuda {

void stream_int8_min(const StreamArg& a, cudaStream_t stream) {
  stream_by_dtype<8, kStreamMin>(a, stream);
}

}  // namespace tokamak::cuda
