// The explicit list of what the CPU backend offers.
#pragma once
#include "backend/cpu/cpu_tactic.h"

namespace tokamak {

CpuRegistry make_cpu_registry(const CpuTarget& target);

}  // namespace tokamak
