// Adapters added to a linear's output, tuned for AVX2 and AVX-512.
#pragma once
#include "backend/cpu/cpu_tactic.h"

namespace tokamak {

void add_tuned_lora(CpuRegistry& r);

}  // namespace tokamak
