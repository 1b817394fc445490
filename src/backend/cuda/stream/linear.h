// linear and linear_glu for few tokens at the memory's speed (sm_90): float weights as the
// checkpoint has them, codes of 8 and 4 bits in the layout "cuda.stream".
#pragma once
#include "backend/cuda/cuda_tactic.h"

namespace tokamak {

void add_stream_linear(CudaRegistry& r);

}  // namespace tokamak
