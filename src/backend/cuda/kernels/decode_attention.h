// attention for sequences with few queries (decoding): one launch that turns and appends, reads
// each key and value once for the query heads that share it, and divides long contexts over blocks.
// Sequences with more queries are left to kernels/prefill_attention.h.
#pragma once
#include "backend/cuda/kernels/reference.h"

namespace tokamak::cuda {

inline constexpr int kDecodeRows = 16;  // query heads of a KV head times queries that a block takes
inline constexpr int kDecodeTile = 16;  // keys

// A sequence's rows go to the decode kernel when they fit one block, or for its only query.
inline constexpr bool is_decode(int queries, int group) {
  return queries == 1 || queries * group <= kDecodeRows;
}

// How contexts are divided: by as many as `parts` blocks, each with at least `min_tiles` tiles.
// clustered: the parts of a head, 2 to 8, join in shared memory; else in `partial`.
struct DecodeSplit {
  int parts = 1, min_tiles = 4;
  bool clustered = false;
  int multiprocessors = 0;  // as many blocks begin while the kernel before still runs
  int block_shift = -1;     // log2 of the cache's block size; -1: not a power of two
  float* partial = nullptr;
};

inline constexpr int kMaxClusterParts = 8;
inline constexpr int kMaxPartialBlocks = 1024;  // parts that go through memory, in all

// What a launch's parts need when they are not clustered.
size_t decode_partial_bytes(int head_dim);

// 16-bit, int8_row or f8e4m3 rows that start at multiples of 16 bytes.
bool decode_attention_fits(const AttentionArg& a);
void decode_attention(const AttentionArg& a, const StepArg& step, const DecodeSplit& split,
                      cudaStream_t stream);

// One per dtype of the cache.
void decode_attention_f16(const AttentionArg&, const StepArg&, const DecodeSplit&, cudaStream_t);
void decode_attention_bf16(const AttentionArg&, const StepArg&, const DecodeSplit&, cudaStream_t);
void decode_attention_int8(const AttentionArg&, const StepArg&, const DecodeSplit&, cudaStream_t);
void decode_attention_f8(const AttentionArg&, const StepArg&, const DecodeSplit&, cudaStream_t);

}  // namespace tokamak::cuda
