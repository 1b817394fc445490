// The streaming kernel for codes of 4 bits.
#include "backend/cuda/kernels/stream_linear.cuh"

namespace tokamak::cuda {

void stream_int4(const StreamArg& a, cudaStream_t stream) { stream_by_dtype<4, 0>(a, stream); }

}  // namespace tokamak::cuda
