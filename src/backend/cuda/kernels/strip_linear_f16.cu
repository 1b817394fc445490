#include "backend/cuda/kernels/strip_linear.cuh"

namespace tokamak::cuda {

void strip_linear_f16(const StripArg& a, cudaStream_t stream) {
  strip_linear_of<__half>(a, stream);
}

}  // namespace tokamak::cuda
