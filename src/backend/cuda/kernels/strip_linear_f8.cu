#include "backend/cuda/kernels/strip_linear.cuh"

namespace tokamak::cuda {

void strip_linear_f8(const StripArg& a, cudaStream_t stream) { strip_linear_of<Codes>(a, stream); }

}  // namespace tokamak::cuda
