// What the prefill kernel is told, and what each of its blocks has to do: a tile of queries of a
// head.
#pragma once
#include <cuda.h>

#include "backend/cuda/kernels/decode_attention.h"
#include "backend/cuda/kernels/prefill_attention.h"

namespace tokamak::cuda {
namespace {

constexpr int kThreads = 384, kGroup = 128;

struct PrefillArg {
  CUtensorMap k, v;  // where boxes are copied: of the cache, or of PrefillQueries' k and v
  PrefillQueries q;
  RowsArg y;
  StepArg step;
  const uint8_t *k_cache, *v_cache;
  int heads, kv_heads, head_dim, block_size, block_shift, window;  // block_shift: as DecodeSplit's
  int alibi;                                                       // as AttentionArg's
  int tiles, together;            // of all sequences, at most; heads whose tiles go side by side
  float scale, softcap, v_scale;  // scale: with K's
};

template <int HD, bool BOXES>
struct Shape {
  static constexpr int kKeys = HD == 256 ? 64 : 128;  // of a turn
  static constexpr int kHalves = HD / 64;             // columns of 64 elements, 128 bytes
  static constexpr int kStages = HD == 64 || (HD == 128 && BOXES) ? 3 : 2;
  static constexpr int kQBytes = kPrefillRows * HD * 2, kTileBytes = kKeys * HD * 2;
  static constexpr int kCodeBytes = BOXES ? 0 : kKeys * (HD + 2);  // of 8-bit rows
  static constexpr size_t kShared =
      1024 + kQBytes + 2 * kStages * kTileBytes + 2 * kCodeBytes + 256;
};

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

// The sequence and the tile of queries that index `flat` means; tiles of a sequence go from the
// last, which has the most keys, to the first. all: also of sequences with few queries. False:
// there are not so many.
__device__ inline bool find_tile(const StepArg& step, int group, bool all, int flat, int& seq,
                                 int& tile) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  int before = 0;
  for (int s0 = all ? 0 : step.first_prompt; s0 < step.sequences; s0 += 32) {
    const int s = s0 + lane;
    int tiles = 0;
    if (s < step.sequences) {
      const int queries = step.query_begin[s + 1] - step.query_begin[s];
      if (queries > 0 && (all || !is_decode(queries, group)))
        tiles = (queries + kPrefillRows - 1) / kPrefillRows;
    }
    int sum = tiles;
#pragma unroll
    for (int d = 1; d < 32; d *= 2) {
      const int other = __shfl_up_sync(0xffffffffu, sum, d);
      if (lane >= d) sum += other;
    }
    const unsigned has = __ballot_sync(0xffffffffu, flat < before + sum);
    if (has != 0) {
      const int l = __ffs(static_cast<int>(has)) - 1;
      const int end = before + __shfl_sync(0xffffffffu, sum, l);
      seq = s0 + l;
      tile = end - 1 - flat;
      return true;
    }
    before += __shfl_sync(0xffffffffu, sum, 31);
  }
  return false;
}

template <int kStages>
struct Barriers {
  uint64_t landed, full_k[kStages], full_v[kStages], empty_k[kStages], empty_v[kStages];
};

// What a block works on.
struct Tile {
  int seq, begin, queries, length;  // of the sequence
  int first;                        // query of the tile
  int past, turn_from, turn_to;     // turns of kKeys keys, half open
};

#endif

}  // namespace
}  // namespace tokamak::cuda
