// The streaming kernel for codes of 8 bits.
#include "backend/cuda/kernels/stream_linear.cuh"

namespace tokamak::cuda {

void stream_int8(const StreamArg& a, cudaStream_t stream) { stream_by_dtype<8, 0>(a, stream); }

}  // namespace tokamak::cuda
