// One block's part of a row's scores, and what the row's history and parameters do to them.
#pragma once
#include "backend/cuda/kernels/sample.cuh"

namespace tokamak::cuda {

// Tokens [begin, begin + size) of the vocabulary. seen: a bit per token; counts: in the output.
struct ScorePart {
  float* scores = nullptr;
  uint32_t* seen = nullptr;
  uint32_t* counts = nullptr;  // two of 16 bits in each
  int64_t begin = 0;
  int size = 0;

  // The place of a token id here, or a number that is not below size.
  __device__ uint32_t place(int32_t id) const {
    return id < 0 ? ~0u : static_cast<uint32_t>(id - begin);
  }
  __device__ bool has(uint32_t place) const { return place < static_cast<uint32_t>(size); }
};

struct RowHistory {
  const int32_t* tokens = nullptr;
  int32_t length = 0, prompt = 0;
};

// The largest of this thread's logits (NaN above all) while they are taken over. T: float or four
// of them. Several loads go out at once; beyond the end the last is read again.
__device__ inline Rank rank_of(float4 v) {
  return larger(larger(rank_of(v.x, 0), rank_of(v.y, 0)), larger(rank_of(v.z, 0), rank_of(v.w, 0)));
}
__device__ inline Rank rank_of(float v) { return rank_of(v, 0); }

template <typename T>
__device__ inline Rank load_scores(const T* from, T* to, int size) {
  constexpr int kAtOnce = 4;
  Rank best = 0;
  for (int i0 = threadIdx.x; i0 < size; i0 += kAtOnce * blockDim.x) {
    T v[kAtOnce];
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i)
      v[i] = __ldcs(from + min(i0 + i * static_cast<int>(blockDim.x), size - 1));
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      const int at = i0 + i * static_cast<int>(blockDim.x);
      if (at >= size) break;
      best = larger(best, rank_of(v[i]));
      to[at] = v[i];
    }
  }
  return best;
}
__device__ inline Rank load_scores(const float* logits, ScorePart& p) {
  const float* x = logits + p.begin;
  if (p.size % 4 == 0 && reinterpret_cast<uintptr_t>(x) % 16 == 0)
    return load_scores(reinterpret_cast<const float4*>(x), reinterpret_cast<float4*>(p.scores),
                       p.size / 4);
  return load_scores(x, p.scores, p.size);
}

// Counts stop near 61000, below what 16 bits hold by more than the threads that may add at once.
__device__ inline void count_history(const RowHistory& h, ScorePart& p) {
  constexpr uint32_t kEnough = 0xf000;
  for (int i = threadIdx.x; i < (p.size + 31) / 32; i += blockDim.x) p.seen[i] = 0;
  for (int i = threadIdx.x; i < (p.size + 1) / 2; i += blockDim.x) p.counts[i] = 0;
  __syncthreads();
  for (int i = threadIdx.x; i < h.length; i += blockDim.x) {
    const uint32_t j = p.place(h.tokens[i]);
    if (!p.has(j)) continue;
    atomicOr(p.seen + j / 32, 1u << j % 32);
    const uint32_t shift = j % 2 * 16;
    volatile uint32_t* count = p.counts + j / 2;
    if (i >= h.prompt && (*count >> shift & 0xffff) < kEnough)
      atomicAdd(p.counts + j / 2, 1u << shift);
  }
  __syncthreads();
}

__device__ inline void penalize(const RowSampling& s, const RowHistory& h, ScorePart& p) {
  if (s.repetition_penalty == 1 && s.presence_penalty == 0 && s.frequency_penalty == 0) return;
  count_history(h, p);
  for (int j = threadIdx.x; j < p.size; j += blockDim.x) {
    if (!(p.seen[j / 32] >> j % 32 & 1)) continue;
    float v = p.scores[j];
    v = v < 0 ? v * s.repetition_penalty : v / s.repetition_penalty;
    const uint32_t count = p.counts[j / 2] >> j % 2 * 16 & 0xffff;
    if (count > 0)
      v = __fsub_rn(v, __fadd_rn(__fmul_rn(s.frequency_penalty, static_cast<float>(count)),
                                 s.presence_penalty));
    p.scores[j] = v;
  }
}

// Bans what followed the last n-1 tokens before.
__device__ inline void ban_repeated_ngrams(const RowSampling& s, const RowHistory& h,
                                           ScorePart& p) {
  const int prefix = s.no_repeat_ngram_size - 1;
  if (prefix < 0 || h.length < prefix) return;
  __syncthreads();  // penalties first
  const int32_t* tail = h.tokens + h.length - prefix;
  for (int i = prefix + static_cast<int>(threadIdx.x); i < h.length; i += blockDim.x) {
    const uint32_t j = p.place(h.tokens[i]);
    if (!p.has(j)) continue;
    int same = 0;
    while (same < prefix && h.tokens[i - 1 - same] == tail[prefix - 1 - same]) ++same;
    if (same == prefix) p.scores[j] = -INFINITY;
  }
}

}  // namespace tokamak::cuda
