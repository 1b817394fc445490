// linear and linear_glu over rows16 weights at the tuned ISA levels.
#pragma once
#include "backend/cpu/cpu_tactic.h"

namespace tokamak {

void add_tuned_linear(CpuRegistry& r);

}  // namespace tokamak
