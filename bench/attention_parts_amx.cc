#include "attention_parts.h"

#include "backend/cpu/attention/pair_tile.h"

namespace tokamak {
namespace {

// f(tile) for every tile of 32 rows and kPairTile keys.
template <typename F>
TOKAMAK_INLINE void each_tile(const AttentionParts& p, F f) {
  begin_pairs();
  const int64_t width = int64_t{p.tile.steps} * 32;
  for (int64_t r = 0; r < p.rows; r += 32)
    for (int64_t key = 0; key < p.keys; key += kPairTile) {
      PairTile t = p.tile;
      t.vectors = 2, t.keys = kPairTile;
      t.q += r * width, t.out += r * width;
      t.k += key * width, t.v += key * width;
      t.mask.places += r, t.mask.key = static_cast<float>(key);
      t.start += r, t.sum += r * 16;
      f(t);
    }
  end_pairs();
}

float* scores_of(const PairTile& t, int block) { return t.scores + block % 2 * 32 * kBlock; }

}  // namespace

void attention_scores_amx(const AttentionParts& p) {
  each_tile(
      p, [](const PairTile& t) __attribute__((always_inline)) {
        for (int b = 0; b < kPairTile / kBlock; ++b) block_scores<2>(t, b, scores_of(t, b));
      });
}
void attention_weights_amx(const AttentionParts& p) {
  each_tile(
      p, [](const PairTile& t) __attribute__((always_inline)) {
        for (int b = 0; b < kPairTile / kBlock; ++b) block_weights<2, false>(t, b, scores_of(t, b));
      });
}
void attention_values_amx(const AttentionParts& p) {
  each_tile(
      p, [](const PairTile& t) __attribute__((always_inline)) {
        for (int part = 0; part < 2 * t.steps; ++part) part_values<2>(t, part);
      });
}
void attention_tiles_amx(const AttentionParts& p) { each_tile(p, pair_tile); }

}  // namespace tokamak
