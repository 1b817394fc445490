#include "backend/cuda/kernels/decode_attention.cuh"

namespace tokamak::cuda {

void decode_attention_f16(const AttentionArg& a, const StepArg& step, const DecodeSplit& s,
                          cudaStream_t stream) {
  by_head<Kv::f16>(a, step, s, stream);
}

}  // namespace tokamak::cuda
