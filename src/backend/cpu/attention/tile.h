// Entry points of the attention kernels, one set per ISA level: plain functions over raw memory.
// Heads are padded to `ld` floats (64, 128 or 256) in scratch. A row of work is one head of one
// query; sixteen rows that share their keys lie in the lanes of a vector, and what happens in one
// lane never depends on the others.
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/dtype.h"

namespace tokamak {

inline constexpr int kKeyTile = 64;    // keys of a float tile and of a decode tile
inline constexpr int kPairTile = 256;  // keys of a tile in bf16 pairs
inline constexpr int kPairChunk = 2;   // tiles that are packed at once: they stay in the L2
inline constexpr int kLanes = 16;
inline constexpr int kMaxHeadDim = 256;
inline constexpr float kMaskedScore = -1e30f;  // finite, so that no difference of two is NaN

// How a head of q or k is prepared: norm, rotation, then times scale.
struct HeadForm {
  int64_t head_dim = 0, rotary_dim = 0;
  bool neox = true;
  bool norm = false;
  float eps = 0, scale = 1;
};

// Which pairs of a tile are visible: a row sees keys place - window + 1 … place.
struct TileMask {
  bool needed = false;            // some pair of the tile may be invisible
  const float* places = nullptr;  // of the rows, in their sequence
  float key = 0;                  // place of the tile's first key
  float window = 0;               // 0: none
};

// Sixteen rows against one tile of keys in float32; updates their running maximum, sum and output.
struct PrefillTile {
  int64_t head_dim = 0, ld = 0;
  const float* q = nullptr;  // [head_dim][16], scaled
  const float* k = nullptr;  // [kKeyTile][ld]
  const float* v = nullptr;  // [kKeyTile][ld]
  int keys = 0;              // of the tile
  TileMask mask;             // places and key are set in any case
  float softcap = 0;
  const float* slopes = nullptr;         // [16], of ALiBi; null: none
  float* scores = nullptr;               // scratch [kKeyTile][16]
  float *max = nullptr, *sum = nullptr;  // [16]
  float* out = nullptr;                  // [16][ld], not yet divided by sum
};

// One or two times sixteen rows against one tile of keys in bf16 pairs, summed in float32. All
// sizes of heads are rounded up to 32. Scores are in units of kPairUnit.
struct PairTile {
  int vectors = 1;
  int steps = 0;                // of 32 dimensions
  const uint16_t* q = nullptr;  // [vector * 16 rows][32 * steps], scaled
  const uint16_t* k = nullptr;  // [keys / 16][step][16 pairs of dimensions][16 keys][2]
  const uint16_t* v = nullptr;  // [keys / 32][2 * steps][16 pairs of keys][16 dimensions][2]
  int keys = 0;                 // to look at, a multiple of 32; what lies past the sequence is zero
  TileMask mask;                // places: [vector * 16], rising
  float softcap = 0;            // in natural units
  const float* slopes = nullptr;  // [vector * 16], of ALiBi, in kPairUnit; null: none
  float* scores = nullptr;        // scratch [2][32 rows][32 keys]
  uint16_t* weights = nullptr;    // scratch [kPairTile / 32][32 rows][32 keys]
  float* fresh = nullptr;         // scratch [32 rows][16]
  float* start = nullptr;         // [row]: what its scores are added to
  float* sum = nullptr;           // [row][16 parts]
  float* out = nullptr;           // [vector][2 * steps][16 rows][16], not yet divided by sum
};
inline constexpr float kPairUnit = 128 * 1.44269504f;

// The kernels of prefill in bf16 pairs (AMX). Tiles are computed between begin and end.
struct PairKernels {
  void (*begin)();
  void (*end)();
  // One query to a row of PairTile::q; its start follows from its own key.
  void (*pack_query)(const float* query, const float* key, int64_t head_dim, float softcap,
                     uint16_t* q, float* start);
  // `keys` rows of a cache of float16, bfloat16, int8 or fp8 to PairTile's k and v; up to a
  // multiple of 32 keys: zero.
  void (*pack_keys)(DType t, const std::byte* const* k, const std::byte* const* v, int keys,
                    int64_t head_dim, uint16_t* pk, uint16_t* pv);
  void (*tile)(const PairTile& tile);
  // A row of out and its sum to head_dim floats.
  void (*finish_row)(const float* out, const float* sum, int64_t head_dim, float* y);
};

// Consecutive rows of the cache: some keys and their values in one block.
struct KeyRun {
  const std::byte *k, *v;
  int keys;
};

// Memory that is read soon, asked for bit by bit while a decode tile is computed.
struct FetchRun {
  const std::byte *at, *end;
};
struct FetchPlan {
  FetchRun* runs = nullptr;
  int count = 0;      // of runs not yet fetched
  int64_t bytes = 0;  // of all of them, when the plan was made
};

// One query of each of `heads` heads that share their keys, against a few runs of keys straight
// from the cache, all visible and kKeyTile together at most.
struct DecodeTile {
  DType dtype = DType::f16;
  int64_t head_dim = 0, ld = 0;
  int heads = 0, keys = 0;
  const float* q = nullptr;  // [heads][ld], zero past head_dim
  const KeyRun* runs = nullptr;
  int run_count = 0;
  FetchPlan* ahead = nullptr;
  float softcap = 0;
  const float* slopes = nullptr;         // [heads], of ALiBi; null: none
  float distance = 0;                    // from the query's place to the first key's
  float* scores = nullptr;               // scratch [heads][kScoreRow]
  float *max = nullptr, *sum = nullptr;  // [heads]
  float* out = nullptr;                  // [heads][ld]
};
inline constexpr int kScoreRow = kKeyTile + 16;

struct AttentionKernels {
  // cos and sin of position * inv_freq[i] (a float32 product), times magnitude.
  void (*angles)(const float* inv_freq, int64_t n, float position, float magnitude, float* cos,
                 float* sin);
  // cos == null: no rotation.
  void (*head)(const HeadForm& form, const float* x, const float* norm_weight, const float* cos,
               const float* sin, float* out);
  void (*narrow)(DType t, const float* x, int64_t n, std::byte* out);
  // rows x n contiguous elements to rows of ld floats, zero-padded to a multiple of 16.
  void (*widen)(DType t, const std::byte* x, int64_t rows, int64_t n, float* out, int64_t ld);
  void (*transpose)(const float* in, int64_t in_ld, float* out, int64_t out_ld);  // 16 x 16
  void (*prefill)(const PrefillTile& tile);
  void (*decode)(const DecodeTile& tile);
  void (*fetch)(FetchPlan& plan);  // all of it
  // out = acc * factor over n
  void (*scale)(const float* acc, float factor, int64_t n, float* out);
  const PairKernels* pairs = nullptr;  // null: prefill computes in float32
};

const AttentionKernels& attention_kernels_avx2();
const AttentionKernels& attention_kernels_avx512();
const AttentionKernels& attention_kernels_amx();
// AMX over emulated tile registers, on every AVX-512 machine: for tests.
const AttentionKernels& attention_kernels_emulated();

}  // namespace tokamak
