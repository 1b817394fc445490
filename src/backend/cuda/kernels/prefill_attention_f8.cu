#include "backend/cuda/kernels/prefill_attention_sm90.cuh"

namespace tokamak::cuda {

bool prefill_attention_f8(const AttentionArg& a, const StepArg& step, const PrefillQueries& queries,
                          cudaStream_t stream) {
  return by_head<Kv::f8>(a, step, queries, stream);
}

}  // namespace tokamak::cuda
