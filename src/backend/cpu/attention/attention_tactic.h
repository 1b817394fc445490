// attention over the paged cache at the tuned ISA levels.
#pragma once
#include "backend/cpu/cpu_tactic.h"

namespace tokamak {

void add_tuned_attention(CpuRegistry& r);

}  // namespace tokamak
