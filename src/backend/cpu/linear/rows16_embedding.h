// embedding from a table in layout "rows16", so that a table that is also the last linear's weight
// is kept once.
#pragma once
#include "backend/cpu/cpu_tactic.h"

namespace tokamak {

void add_rows16_embedding(CpuRegistry& r);

}  // namespace tokamak
