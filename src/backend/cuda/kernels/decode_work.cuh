// What the decode kernel's blocks have to do: a sequence's numbers, and how its context is divided.
#pragma once
#include "backend/cuda/kernels/attention_parts.cuh"
#include "backend/cuda/kernels/decode_attention.h"

namespace tokamak::cuda {
namespace {

constexpr int kWarps = 4, kThreads = kWarps * 32, kTile = kDecodeTile;
constexpr int kFewQueries = 2;  // of a sequence, at most, where one tile of 8 rows is enough

// A sequence in the step, and the tiles of a part, counted from the context's begin.
struct Numbers {
  int begin = 0, end = 0, length = 0;  // its tokens; its context after the step
  __device__ int queries() const { return end - begin; }
  __device__ int past() const { return length - queries(); }
  __device__ bool operator==(const Numbers& n) const {
    return begin == n.begin && end == n.end && length == n.length;
  }
};
__device__ inline Numbers read_numbers(const StepArg& step, int seq) {
  return {load_fresh(step.query_begin + seq), load_fresh(step.query_begin + seq + 1),
          load_fresh(step.context_len + seq)};
}

struct Tiles {
  int from = 0, to = 0;
};
__device__ inline Tiles tiles_of(const AttentionArg& a, const DecodeSplit& s, const Numbers& n,
                                 int part) {
  const int first = a.window > 0 ? max(0, n.past() - static_cast<int>(a.window) + 1) / kTile : 0;
  const unsigned tiles = static_cast<unsigned>((n.length + kTile - 1) / kTile - first);
  const unsigned most = (tiles + s.min_tiles - 1) / s.min_tiles,
                 parts = max(1u, min(static_cast<unsigned>(s.parts), most));
  const unsigned each = (tiles + parts - 1) / parts, at = static_cast<unsigned>(part) * each;
  return {first + static_cast<int>(min(at, tiles)),
          first + static_cast<int>(min(at + each, tiles))};
}

}  // namespace
}  // namespace tokamak::cuda
