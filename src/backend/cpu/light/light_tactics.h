// Tuned tactics (avx2, avx512) of the memory-light ops on float32 activations: norms, unary,
// binary, glu, softcap, softmax, reduce, rope, embedding.
#pragma once
#include "backend/cpu/cpu_tactic.h"

namespace tokamak {

void add_light_tactics(CpuRegistry& r);

}  // namespace tokamak
