// The choice between the kernels of each cache dtype.
#include "backend/cuda/kernels/decode_attention.h"

namespace tokamak::cuda {

size_t decode_partial_bytes(int head_dim) {
  const int hd = head_dim <= 64 ? 64 : head_dim <= 128 ? 128 : 256;
  return sizeof(float) * kMaxPartialBlocks * kDecodeRows * static_cast<size_t>(hd + 4);
}

bool decode_attention_fits(const AttentionArg& a) {
  if (a.head_dim < 8 || a.head_dim > 256 || a.head_dim % 8 != 0) return false;
  switch (a.kv_dtype) {
    case DType::f16:
    case DType::bf16:
      return true;
    case DType::int8_row:
      return a.block_size % 8 == 0;
    case DType::f8e4m3:
      return a.head_dim % 16 == 0;
    default:
      return false;
  }
}

void decode_attention(const AttentionArg& a, const StepArg& step, const DecodeSplit& split,
                      cudaStream_t stream) {
  if (step.sequences == 0 || step.tokens == 0) return;
  DecodeSplit s = split;
  s.clustered = split.clustered && split.parts > 1;
  s.block_shift = -1;
  for (int i = 0; i < 20; ++i)
    if (a.block_size == 1 << i) s.block_shift = i;
  if (a.kv_dtype == DType::f16) return decode_attention_f16(a, step, s, stream);
  if (a.kv_dtype == DType::bf16) return decode_attention_bf16(a, step, s, stream);
  if (a.kv_dtype == DType::int8_row) return decode_attention_int8(a, step, s, stream);
  decode_attention_f8(a, step, s, stream);
}

}  // namespace tokamak::cuda
