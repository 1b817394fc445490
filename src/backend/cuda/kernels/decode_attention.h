// attention for steps in which every sequence has few queries (decoding): one launch that turns and
// appends, reads each key and value once for all query heads that share it, and divides long
// contexts over blocks.
#pragma once
#include "backend/cuda/kernels/reference.h"

namespace tokamak::cuda {

inline constexpr int kDecodeRows = 8;       // query heads of a KV head times queries, at most
inline constexpr int kDecodeMaxParts = 32;  // of a context

// float16 and bfloat16 caches, heads of 64, 128 or 256; q, k, v and y of one 16-bit dtype.
bool decode_attention_fits(int head_dim, DType kv_dtype);

// `partial`: decode_partial_bytes(); `tickets`: a zero for every sequence and KV head, zero again
// when the kernel has run.
size_t decode_partial_bytes(int64_t tokens, int heads, int head_dim);
void decode_attention(const AttentionArg& a, const StepArg& step, int parts, float* partial,
                      unsigned* tickets, cudaStream_t stream);

}  // namespace tokamak::cuda
