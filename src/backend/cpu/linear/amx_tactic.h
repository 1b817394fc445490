// linear and linear_glu on AMX tiles: activations and weights rounded to bf16, float32 sums; or,
// where 8 bits of activations are allowed, weights' codes and activations as int8.
#pragma once
#include "backend/cpu/cpu_tactic.h"
#include "backend/cpu/linear/amx_linear.h"

namespace tokamak {

void add_amx_linear(CpuRegistry& r);

// How the work is cut for the caches.
struct AmxBlocking {
  int64_t stretch = 16;           // steps of 32 inputs that a panel has
  int64_t panel_groups = 2;       // and groups, even: 1 KiB for each step and group
  int64_t tiles = 32;             // token tiles whose sums are kept at once
  size_t sums_bytes = 512 << 10;  // of these sums in one task, in the second cache
  int64_t groups = 16;            // of one task at most
};

using AmxKernelsFor = const AmxLinearKernels* (*)(DType weight);
// One of them over given kernels at a given level: tests run emulated ones.
std::unique_ptr<Tactic> make_amx_linear(std::string name, Op op, Isa level, const CpuTarget& target,
                                        AmxKernelsFor kernels_for,
                                        const AmxBlocking& blocking = {});
// In int8 (amx_int8_linear.h); only where activations of 8 bits are allowed.
std::unique_ptr<Tactic> make_amx_int8_linear(std::string name, Op op, Isa level,
                                             const CpuTarget& target, AmxKernelsFor kernels_for);

}  // namespace tokamak
