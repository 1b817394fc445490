#include "backend/cpu/light/light_rows.h"

namespace tokamak {

const LightKernels& light_kernels_avx512() { return light::kKernels; }

}  // namespace tokamak
