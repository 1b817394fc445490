#include "backend/cuda/kernels/strip_linear.cuh"

namespace tokamak::cuda {

void strip_linear_bf16(const StripArg& a, cudaStream_t stream) {
  strip_linear_of<__nv_bfloat16>(a, stream);
}

}  // namespace tokamak::cuda
