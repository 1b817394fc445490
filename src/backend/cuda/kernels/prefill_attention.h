// attention for sequences with many queries (prompts and chunks of prompts): a kernel that turns
// and appends, then tiles of queries on Hopper's tensor cores. Sequences that
// kernels/decode_attention.h takes are left to it, unless a token's result may not depend on how
// many come with it.
#pragma once
#include "backend/cuda/kernels/reference.h"

namespace tokamak::cuda {

inline constexpr int kPrefillRows = 128;  // queries of a block

// 16-bit q of all tokens, in rows at multiples of 16 bytes. With angles ([tokens][head_dim / 2],
// cos and sin) it is yet to be turned, in halves; without it is ready, in the dtype of the
// products.
struct PrefillQueries {
  const void* data = nullptr;
  int64_t stride = 0;
  bool bf16 = false;
  const float2* angles = nullptr;
  bool deterministic = false;  // sequences with few queries too, and each query for itself
  // With an FP8 cache, where they are not null: codes of the step's keys and values as float16,
  // [tokens][kv_heads][head_dim]. Prompts that begin with this step read these, not the cache.
  const void *k = nullptr, *v = nullptr;
};

// Turns and appends the prefill sequences' keys and values, and readies q in `workspace`.
size_t prefill_workspace_bytes(int64_t tokens, int heads, int kv_heads, int head_dim);
PrefillQueries prefill_prepare(const AttentionArg& a, const StepArg& step, void* workspace,
                               bool deterministic, cudaStream_t stream);

// For compute capability 9.0. False: the driver refuses to describe the cache to the copy engine.
bool prefill_attention_fits(const AttentionArg& a);
bool prefill_attention(const AttentionArg& a, const StepArg& step, const PrefillQueries& queries,
                       cudaStream_t stream);

// One per dtype of the cache.
bool prefill_attention_f16(const AttentionArg&, const StepArg&, const PrefillQueries&,
                           cudaStream_t);
bool prefill_attention_bf16(const AttentionArg&, const StepArg&, const PrefillQueries&,
                            cudaStream_t);
bool prefill_attention_int8(const AttentionArg&, const StepArg&, const PrefillQueries&,
                            cudaStream_t);
bool prefill_attention_f8(const AttentionArg&, const StepArg&, const PrefillQueries&, cudaStream_t);

}  // namespace tokamak::cuda
