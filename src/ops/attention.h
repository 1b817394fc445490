// attention over the paged KV cache: appends this step's k and v of every sequence to its blocks,
// then each query attends causally to its sequence's keys.
// Inputs: q [tokens, heads * head_dim], k and v [tokens, kv_heads * head_dim], positions [tokens];
// then, if qk_norm, q_weight [head_dim] and k_weight [head_dim] (RMS norm per head, before rope).
// With has_rope, q and k are turned here (ops/rope.h), so that k enters the cache turned.
// Output [tokens, heads * head_dim]. softmax((q·k) * scale, capped by softcap if > 0); with window
// w > 0 a query at position p sees keys p-w+1 … p. With alibi, a score gets alibi_slope(head) *
// (j - p) for the key of place j. Source: arXiv 1706.03762, GQA 2305.13245, ALiBi 2108.12409.
#pragma once
#include "ops/rope.h"

namespace tokamak {

struct AttentionAttrs {
  int64_t layer = 0;  // which KV cache slot
  int64_t heads = 0, kv_heads = 0, head_dim = 0;
  double scale = 0;
  double softcap = 0;
  int64_t window = 0;
  bool qk_norm = false;
  double qk_norm_eps = 1e-6;
  bool has_rope = false;
  RopeAttrs rope;
  bool alibi = false;
  bool deterministic = false;  // as in ops/linear.h

  static AttentionAttrs from(const Attrs& a);
  Attrs to_attrs() const;
};

// Of the paper: a geometric row for the largest power of two of heads, n, which begins with its own
// factor, 2^(-8 / n); the heads beyond have every other one of the row for 2 n.
int64_t alibi_row(int64_t heads);  // n
double alibi_slope(int64_t head, int64_t heads);

}  // namespace tokamak
