// The choice between the kernels of each cache dtype.
#include "backend/cuda/kernels/prefill_attention.h"

#include "backend/cuda/kernels/decode_attention.h"

namespace tokamak::cuda {

bool prefill_attention_fits(const AttentionArg& a) {
  if (a.head_dim < 16 || !decode_attention_fits(a)) return false;
  if (a.kv_dtype != DType::f16 && a.kv_dtype != DType::bf16) return true;
  const int keys = a.head_dim > 128 ? 64 : 128;  // of a turn: whole blocks, or parts of one
  return a.block_size % 8 == 0 && (keys % a.block_size == 0 || a.block_size % keys == 0);
}

bool prefill_attention(const AttentionArg& a, const StepArg& step, const PrefillQueries& queries,
                       cudaStream_t stream) {
  if (a.kv_dtype == DType::f16) return prefill_attention_f16(a, step, queries, stream);
  if (a.kv_dtype == DType::bf16) return prefill_attention_bf16(a, step, queries, stream);
  if (a.kv_dtype == DType::int8_row) return prefill_attention_int8(a, step, queries, stream);
  return prefill_attention_f8(a, step, queries, stream);
}

}  // namespace tokamak::cuda
