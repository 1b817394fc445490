// chain: the plain tactic, one element at a time in double, and the tuned ones (avx2, avx512),
// which run each step over a stretch of a row that stays in the first-level cache.
#pragma once
#include "backend/cpu/cpu_tactic.h"

namespace tokamak {

void add_reference_chain(CpuRegistry& r);
void add_tuned_chain(CpuRegistry& r);

}  // namespace tokamak
