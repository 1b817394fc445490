#include <bit>

#include "backend/cuda/kernels/decode_many.cuh"

namespace tokamak::cuda {

bool decode_many_fits(const AttentionArg& a) {
  const DType t = a.y.dtype;
  if (t != DType::f16 && t != DType::bf16) return false;
  for (const RowsArg* x : {&a.q, &a.k, &a.v, &a.y})
    if (x->dtype != t || reinterpret_cast<uintptr_t>(x->data) % 16 != 0 || x->stride % 8 != 0)
      return false;
  if (a.kv_dtype != t && a.kv_dtype != DType::f8e4m3) return false;
  const bool turned =
      !a.has_rope || (a.rope.neox && a.rope.rotary_dim == a.head_dim && !a.rope.dynamic);
  return (a.head_dim == 64 || a.head_dim == 128) && turned && !a.qk_norm && a.window <= 0 &&
         !(a.softcap > 0) && a.alibi == 0 && a.scale > 0 && a.block_size % kManyTile == 0 &&
         std::has_single_bit(static_cast<unsigned>(a.block_size));
}

void decode_many(const AttentionArg& a, const StepArg& step, int multiprocessors,
                 cudaStream_t stream) {
  if (step.sequences == 0 || step.tokens == 0) return;
  const ManyArg m{a,
                  step,
                  a.heads / a.kv_heads,
                  std::countr_zero(static_cast<unsigned>(a.block_size)),
                  a.k_scale * a.scale * kLog2E,
                  multiprocessors};
  const bool bf16 = a.y.dtype == DType::bf16;
  if (a.kv_dtype == DType::f16) return many_by_head<Kv::f16, false>(m, stream);
  if (a.kv_dtype == DType::bf16) return many_by_head<Kv::bf16, true>(m, stream);
  if (bf16) return many_by_head<Kv::f8, true>(m, stream);
  many_by_head<Kv::f8, false>(m, stream);
}

}  // namespace tokamak::cuda
