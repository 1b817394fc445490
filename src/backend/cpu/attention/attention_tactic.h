// attention over the paged cache at the tuned ISA levels.
#pragma once
#include "backend/cpu/cpu_tactic.h"

namespace tokamak {

void add_tuned_attention(CpuRegistry& r);
// The AMX tactic over emulated tile registers, from level avx512 on: for tests.
std::unique_ptr<Tactic> emulated_amx_attention(const CpuTarget& target);

}  // namespace tokamak
