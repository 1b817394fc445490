// Entry points of the attention kernels, one set per ISA level: plain functions over raw memory.
// Heads are padded to `ld` floats (64, 128 or 256) in scratch; keys come in tiles of kKeyTile.
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/dtype.h"

namespace tokamak {

inline constexpr int kKeyTile = 64;
inline constexpr int kQueryVector = 16;  // queries of one head that a prefill tile handles
inline constexpr int kMaxHeadDim = 256;
inline constexpr float kMaskedScore = -1e30f;  // finite, so that no difference of two is NaN

// How a head of q or k is prepared: norm, rotation, then times scale.
struct HeadForm {
  int64_t head_dim = 0, rotary_dim = 0;
  bool neox = true;
  bool norm = false;
  float eps = 0, scale = 1;
};

// Sixteen consecutive queries of one head against one tile of keys; updates the running maximum,
// sum and output.
struct PrefillTile {
  int64_t head_dim = 0, ld = 0;
  const float* q = nullptr;  // [head_dim][16]: transposed, scaled
  const float* k = nullptr;  // [kKeyTile][ld]
  const float* v = nullptr;  // [kKeyTile][ld], zero where there is no key
  int keys = 0;              // of the tile
  bool masked = false;       // some pair may be invisible
  float query = 0, key = 0;  // places in the sequence of the first query and the first key
  float window = 0;          // 0: none
  float softcap = 0;
  float* scores = nullptr;               // scratch [kKeyTile][16]
  float *max = nullptr, *sum = nullptr;  // [16]
  float* out = nullptr;                  // [16][ld], not yet divided by sum
};

// One query of each of `heads` heads that share their keys, against one tile of keys.
struct DecodeTile {
  int64_t head_dim = 0, ld = 0;
  int heads = 0, keys = 0;                 // all visible
  const float* q = nullptr;                // [heads][ld], zero past head_dim
  const float *k = nullptr, *v = nullptr;  // [kKeyTile][ld], zero past head_dim
  float softcap = 0;
  float* scores = nullptr;               // scratch [heads][kKeyTile]
  float *max = nullptr, *sum = nullptr;  // [heads]
  float* out = nullptr;                  // [heads][ld]
};

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
  void (*prefill)(const PrefillTile& tile);
  void (*decode)(const DecodeTile& tile);
  // out = acc * factor over n
  void (*scale)(const float* acc, float factor, int64_t n, float* out);
};

const AttentionKernels& attention_kernels_avx2();
const AttentionKernels& attention_kernels_avx512();

}  // namespace tokamak
