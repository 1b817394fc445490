// The choice between the kernels of each cache dtype.
#include "backend/cuda/kernels/prefill_attention.h"

namespace tokamak::cuda {

bool prefill_attention_fits(const AttentionArg& a) {
  const int keys = a.head_dim > 128 ? 64 : 128;  // of a turn: whole blocks, or parts of one
  const bool boxes =
      a.block_size % 8 == 0 && (keys % a.block_size == 0 || a.block_size % keys == 0);
  if (a.head_dim < 16 || a.head_dim > 256 || a.head_dim % 8 != 0) return false;
  switch (a.kv_dtype) {
    case DType::f16:
    case DType::bf16:
      return boxes;
    case DType::int8_row:
      return a.block_size % 8 == 0;
    case DType::f8e4m3:
      return a.head_dim % 16 == 0;
    default:
      return false;
  }
}

bool prefill_attention(const AttentionArg& a, const StepArg& step, const PrefillQueries& queries,
                       cudaStream_t stream) {
  if (a.kv_dtype == DType::f16) return prefill_attention_f16(a, step, queries, stream);
  if (a.kv_dtype == DType::bf16) return prefill_attention_bf16(a, step, queries, stream);
  if (a.kv_dtype == DType::int8_row) return prefill_attention_int8(a, step, queries, stream);
  return prefill_attention_f8(a, step, queries, stream);
}

}  // namespace tokamak::cuda
