// The streaming kernel for 16-bit weights.
#include "backend/cuda/kernels/stream_linear.cuh"

namespace tokamak::cuda {

void stream_half(const StreamArg& a, cudaStream_t stream) { stream_by_dtype<16, 0>(a, stream); }

}  // namespace tokamak::cuda
