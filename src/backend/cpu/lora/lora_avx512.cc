#include "backend/cpu/lora/lora_rows.h"

namespace tokamak {

const LoraKernels& lora_kernels_avx512() { return lora::kKernels; }

}  // namespace tokamak
