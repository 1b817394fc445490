#include "backend/cpu/attention/tiles.h"

namespace tokamak {

const AttentionKernels& attention_kernels_avx512() { return kAttentionKernels; }

}  // namespace tokamak
