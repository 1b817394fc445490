// The parts of prefill attention over AMX tiles, each by itself.
#pragma once
#include "backend/cpu/attention/tile.h"

namespace tokamak {

// Tiles of 32 rows against keys that are packed already; `tile` is one of them against the first
// kPairTile keys.
struct AttentionParts {
  PairTile tile;
  int64_t rows = 0, keys = 0;  // multiples of 32 and of kPairTile
};

void attention_scores_amx(const AttentionParts& p);   // S = Q K^T
void attention_weights_amx(const AttentionParts& p);  // scores become weights
void attention_values_amx(const AttentionParts& p);   // O += P V
void attention_tiles_amx(const AttentionParts& p);    // all of it

}  // namespace tokamak
