// attention for many sequences with few queries (decoding) and contexts of moderate length: a warp
// by itself for every KV head of a sequence, so that thousands of them keep the memory busy where
// blocks would wait for themselves. Does to a step what kernels/decode_attention.h does.
#pragma once
#include "backend/cuda/kernels/decode_attention.h"

namespace tokamak::cuda {

// Plain ones: heads of 64 or 128 that are turned whole, in halves and by tables, or not at all;
// neither norms, window, cap nor ALiBi; 16-bit operands of one dtype, in rows that start at
// multiples of 16 bytes; a cache of that dtype or f8e4m3 in blocks of a power of two.
bool decode_many_fits(const AttentionArg& a);
void decode_many(const AttentionArg& a, const StepArg& step, int multiprocessors,
                 cudaStream_t stream);

}  // namespace tokamak::cuda
