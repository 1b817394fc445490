#include "backend/cpu/attention/tiles.h"

namespace tokamak {

const AttentionKernels& attention_kernels_avx2() { return kAttentionKernels; }

}  // namespace tokamak
