// A kernel that does nothing: the next one in the stream, which may begin before the one ahead of
// it has ended, begins after everything that this one waited for.
#pragma once
#include <cuda_runtime_api.h>

namespace tokamak::cuda {

void pass_gate(cudaStream_t stream);

}  // namespace tokamak::cuda
