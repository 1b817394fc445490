// Asking for weights before their use. DRAM answers best when several places are read at once, so
// narrow tiles read some groups side by side and ask for the same place of each.
#pragma once
#include <immintrin.h>

#include "backend/cpu/linear/tile.h"
#include "backend/cpu/simd/simd16.h"

namespace tokamak {
namespace {

// How far ahead in each group: DRAM latency times one core's bandwidth, with room to spare.
constexpr size_t kPrefetchBytes = 4096;

TOKAMAK_INLINE void prefetch(const std::byte* p) {
  _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T0);
}

// Groups that a tile of `width` tokens reads side by side: their sums share the registers.
#if defined(__AVX512F__)
template <int W>
constexpr int kSide = W == 1   ? 4
                      : W <= 4 ? 2
                               : 1;
#else
template <int W>
constexpr int kSide = 1;
#endif

// Where S groups stand; asks for what lies kPrefetchBytes ahead, past their end for the same of
// the groups at `next`.
template <int S>
class SideAhead {
 public:
  TOKAMAK_INLINE SideAhead(const LinearWeights& m, const std::byte* w, size_t at,
                           const std::byte* next)
      : w_(w), next_(next), at_(at), group_bytes_(m.group_bytes), near_(m.ahead_near) {
    at_ = (at + kPrefetchBytes) & ~size_t{63}, end_ = at_;
    turn();
  }
  // The tile goes on by `bytes` in each group.
  TOKAMAK_INLINE void advance(size_t bytes) {
    end_ += bytes;
    if (near_)
      for (; at_ < end_; at_ += 64) ask<_MM_HINT_T0>();
    else
      for (; at_ < end_; at_ += 64) ask<_MM_HINT_T1>();
    turn();
  }

 private:
  template <_mm_hint kHint>
  TOKAMAK_INLINE void ask() const {
    const char* p = reinterpret_cast<const char*>(w_) + at_;
#pragma GCC unroll 4
    for (int s = 0; s < S; ++s, p += group_bytes_) _mm_prefetch(p, kHint);
  }
  TOKAMAK_INLINE void turn() {
    if (end_ < group_bytes_) return;  // at_ is less than a line ahead of it
    at_ -= group_bytes_, end_ -= group_bytes_, w_ = next_;
  }

  const std::byte *w_, *next_;
  size_t at_, end_, group_bytes_;
  bool near_;
};

// Runs f.operator()<S>(first group, what is read after its groups) over `groups` groups: S = kSide
// at a time, the rest in fewer.
template <int S, typename F>
TOKAMAK_INLINE void side_by_side(const LinearWeights& m, const std::byte* w, int64_t groups,
                                 const std::byte* next, const F& f) {
  for (; groups >= S; groups -= S, w += S * m.group_bytes)
    f.template operator()<S>(w, groups > S ? w + S * m.group_bytes : next);
  if constexpr (S > 1) {
    if (groups > 0) side_by_side<S / 2>(m, w, groups, next, f);
  }
}

}  // namespace
}  // namespace tokamak
