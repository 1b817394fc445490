// linear and linear_glu on AMX tiles: activations and weights rounded to bf16, float32 sums.
#pragma once
#include "backend/cpu/cpu_tactic.h"
#include "backend/cpu/linear/amx_linear.h"

namespace tokamak {

void add_amx_linear(CpuRegistry& r);

using AmxKernelsFor = const AmxLinearKernels* (*)(DType weight);
// One of them over given kernels at a given level: tests run emulated ones.
std::unique_ptr<Tactic> make_amx_linear(std::string name, Op op, Isa level, const CpuTarget& target,
                                        AmxKernelsFor kernels_for);

}  // namespace tokamak
