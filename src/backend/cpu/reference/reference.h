// Plain tactics, one per op: every dtype, one element at a time, double accumulation. They are the
// fallback that is always valid and what the tuned ones are measured against.
#pragma once
#include "backend/cpu/cpu_tactic.h"

namespace tokamak {

void add_reference_linear(CpuRegistry& r);       // linear, linear_glu
void add_reference_norm(CpuRegistry& r);         // rms_norm, layer_norm, with and without add
void add_reference_elementwise(CpuRegistry& r);  // constant, unary, binary, cast, softcap, glu
void add_reference_rowwise(CpuRegistry& r);      // reduce, softmax
void add_reference_moves(CpuRegistry& r);        // concat, reshape, gather_rows, embedding
void add_reference_rope(CpuRegistry& r);
void add_reference_attention(CpuRegistry& r);
void add_reference_lora(CpuRegistry& r);

}  // namespace tokamak
