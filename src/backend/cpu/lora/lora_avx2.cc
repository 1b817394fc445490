#include "backend/cpu/lora/lora_rows.h"

namespace tokamak {

const LoraKernels& lora_kernels_avx2() { return lora::kKernels; }

}  // namespace tokamak
