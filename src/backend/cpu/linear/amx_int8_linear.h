// Entry points of the AMX kernels in int8, and their memory. As amx_linear.h has it, but: a step is
// 64 inputs, a stretch all of them; behind a step's tile of activations lie float32 scale[16] and
// sum[16] of the tokens (sum: scale times the sum of the digits), those of a group of inputs with
// its last step; `panel` is scratch.
#pragma once
#include "backend/cpu/linear/amx_linear.h"

namespace tokamak {

inline constexpr int64_t kAmxInt8Step = 64;
inline constexpr size_t kAmxInt8StepBytes = 1024 + 2 * 64;
inline constexpr size_t kAmxInt8ScratchBytes = 8 * 1024;

// For weights in groups of 64 inputs or more; null for others.
const AmxLinearKernels* amx_int8_linear_kernels(DType weight);
const AmxLinearKernels* emulated_amx_int8_linear_kernels(DType weight);

}  // namespace tokamak
