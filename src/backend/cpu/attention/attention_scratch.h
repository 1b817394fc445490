// One worker's scratch for an attention op, cut from the workspace. Sizes in floats, all multiples
// of sixteen.
#pragma once
#include <algorithm>

#include "backend/cpu/attention/attention_kernel.h"

namespace tokamak {

inline int64_t padded_head(int64_t head_dim) {
  return head_dim <= 64 ? 64 : head_dim <= 128 ? 128 : 256;
}

// Elements of a row in pairs.
inline int64_t pair_width(const AttentionAttrs& a) { return (a.head_dim + 31) / 32 * 32; }

// Rows of an item: the more, the more share the work on a tile of keys; queries and outputs must
// stay in the second cache.
inline int64_t queries_per_item(const AttentionAttrs& a, bool pairs) {
  const int64_t rows = pairs ? 65536 / padded_head(a.head_dim) : 192;
  return std::max<int64_t>(rows / (a.heads / a.kv_heads), 1);
}

struct TunedAttention::Scratch {
  float *k, *v;               // [tile][ld]
  float *q, *out;             // [rows][ld]; packed
  float* scores;              // of one tile
  float *max, *sum, *places;  // [rows]
  float* slopes;              // [rows], where there are any
  float *cos, *sin, *q_norm, *k_norm;
  float* heads;  // [kLanes][ld]
  uint16_t *pair_k, *pair_v, *weights;
  float *start, *fresh;

  // Takes the parts from `at` and returns the floats taken.
  int64_t lay_out(const AttentionAttrs& a, bool pairs, float* at) {
    float* const begin = at;
    const auto take = [&at](int64_t count) {
      float* part = at;
      at += (count + 15) / 16 * 16;
      return part;
    };
    const int64_t ld = padded_head(a.head_dim), group = a.heads / a.kv_heads;
    const int64_t rows = (queries_per_item(a, pairs) * group + 31) / 32 * 32;
    const int64_t tile = pairs ? kPairTile : kKeyTile;
    k = take(tile * ld), v = take(tile * ld);
    q = take(rows * ld), out = take(rows * ld);
    scores = take(std::max<int64_t>(2 * tile * kLanes, group * kScoreRow));
    max = take(rows), sum = take(rows * (pairs ? 16 : 1)), places = take(rows);
    slopes = take(a.alibi ? rows : 0);
    cos = take(kMaxHeadDim), sin = take(kMaxHeadDim);
    q_norm = take(kMaxHeadDim), k_norm = take(kMaxHeadDim);
    heads = take(kLanes * ld);
    const int64_t chunk = pairs ? kPairChunk * tile * ld / 2 : 0;
    pair_k = reinterpret_cast<uint16_t*>(take(chunk));
    pair_v = reinterpret_cast<uint16_t*>(take(chunk));
    weights = reinterpret_cast<uint16_t*>(take(pairs ? tile * 32 / 2 : 0));
    start = take(pairs ? rows : 0), fresh = take(pairs ? 32 * 16 : 0);
    return at - begin;
  }
};

// Maximum, sum (padded) and outputs of the heads of one decode slot.
inline int64_t slot_floats(const AttentionAttrs& a) {
  const int64_t group = a.heads / a.kv_heads;
  return (2 * group + 15) / 16 * 16 + group * padded_head(a.head_dim);
}

}  // namespace tokamak
