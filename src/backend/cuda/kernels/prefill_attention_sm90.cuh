// The launch of the prefill kernel (prefill_kernel.cuh), one instance for each dtype of the cache.
#pragma once
#include <algorithm>

#include "backend/cuda/kernels/prefill_kernel.cuh"
#include "backend/cuda/kernels/tensor_map.h"

namespace tokamak::cuda {
namespace {

template <int D>
bool make_map(CUtensorMap& map, const void* data, bool bf16, const uint64_t (&size)[D],
              const uint64_t (&stride)[D - 1], const uint32_t (&box)[D]) {
  cuuint64_t sizes[D], strides[D - 1];
  cuuint32_t boxes[D], steps[D];
  for (int i = 0; i < D; ++i) sizes[i] = size[i], boxes[i] = box[i], steps[i] = 1;
  for (int i = 0; i + 1 < D; ++i) strides[i] = stride[i];
  const TensorMapEncoder f = tensor_map_encoder();
  return f != nullptr &&
         f(&map, bf16 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 : CU_TENSOR_MAP_DATA_TYPE_FLOAT16, D,
           const_cast<void*>(data), sizes, strides, boxes, steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
           CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
           CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) == CUDA_SUCCESS;
}

template <int HD, Kv KV>
bool launch(const AttentionArg& a, const StepArg& step, const PrefillQueries& queries,
            cudaStream_t stream) {
  constexpr bool kBoxes = KV == Kv::f16 || KV == Kv::bf16;
  using S = Shape<HD, kBoxes>;
  const uint64_t hd = static_cast<uint64_t>(a.head_dim);
  PrefillArg p{};
  if constexpr (kBoxes) {
    const uint64_t bs = static_cast<uint64_t>(a.block_size), kv = static_cast<uint64_t>(a.kv_heads);
    const uint32_t rows = static_cast<uint32_t>(a.block_size < S::kKeys ? a.block_size : S::kKeys);
    for (int i = 0; i < 2; ++i)  // how many blocks there are is nobody's business here
      if (!make_map<4>(i == 0 ? p.k : p.v, i == 0 ? a.k_cache : a.v_cache, KV == Kv::bf16,
                       {hd, bs, kv, uint64_t{1} << 24}, {2 * hd, 2 * hd * bs, 2 * hd * bs * kv},
                       {64, rows, 1, 1}))
        return false;
  }
  if constexpr (KV == Kv::f8) {
    const uint64_t kv = static_cast<uint64_t>(a.kv_heads), row = 2 * hd * kv;
    const uint64_t tokens = static_cast<uint64_t>(step.tokens);
    if (queries.k != nullptr)
      for (int i = 0; i < 2; ++i)
        if (!make_map<4>(i == 0 ? p.k : p.v, i == 0 ? queries.k : queries.v, false,
                         {hd, tokens, kv, 1}, {row, 2 * hd, row * tokens}, {64, S::kKeys, 1, 1}))
          return false;
  }
  p.q = queries;
  p.y = a.y;
  p.step = step;
  p.k_cache = a.k_cache;
  p.v_cache = a.v_cache;
  p.heads = a.heads;
  p.kv_heads = a.kv_heads;
  p.head_dim = a.head_dim;
  p.block_size = a.block_size;
  p.block_shift = -1;
  for (int i = 0; i < 20; ++i)
    if (a.block_size == 1 << i) p.block_shift = i;
  p.window = static_cast<int>(a.window);
  p.scale = a.scale * (KV == Kv::f8 ? a.k_scale : 1);
  p.softcap = a.softcap;
  p.alibi = a.alibi;
  p.v_scale = KV == Kv::f8 ? a.v_scale : 1;
  const auto kernel = prefill_kernel<HD, KV, kBoxes>;
  cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                       static_cast<int>(S::kShared));
  // The longest tiles of as many heads first as the second cache holds keys and values of.
  constexpr int64_t kTogetherBytes = 32 << 20;
  const int group = a.heads / a.kv_heads;
  const int64_t kv_bytes = int64_t{4} * a.head_dim * std::max(step.max_context, step.tokens);
  p.together =
      group * static_cast<int>(std::clamp<int64_t>(kTogetherBytes / kv_bytes, 1, a.kv_heads));
  p.tiles = step.tokens / kPrefillRows + (queries.deterministic ? step.sequences : step.prompts);
  launch_overlapped(kernel, dim3(static_cast<unsigned>(p.tiles * a.heads)), dim3(kThreads),
                    S::kShared, stream, p);
  return true;
}

template <Kv KV>
bool by_head(const AttentionArg& a, const StepArg& step, const PrefillQueries& queries,
             cudaStream_t stream) {
  if (a.head_dim <= 64) return launch<64, KV>(a, step, queries, stream);
  if (a.head_dim <= 128) return launch<128, KV>(a, step, queries, stream);
  return launch<256, KV>(a, step, queries, stream);
}

}  // namespace
}  // namespace tokamak::cuda
