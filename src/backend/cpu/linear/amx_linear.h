// Entry points of the AMX linear kernels (plain functions over raw memory) and their memory.
// Activations are packed as bf16 tiles of 16 tokens x 32 inputs: [stretch][token tile][step in
// stretch][16][32], a step being 32 inputs and a stretch as many as stay in the first cache; what
// lies behind the last token or input is zero. Weights are rows16, whose bf16 groups are tiles
// already; others are widened into `panel`. Sums: [weight][group][token][16] float32.
#pragma once
#include <cstddef>
#include <cstdint>

#include "backend/cpu/linear/tile.h"

namespace tokamak {

struct AmxTask {
  const std::byte* weight[2] = {};  // first group of each; the second for linear_glu
  int weights = 1;
  int64_t groups = 0;  // 16 outputs each
  size_t group_bytes = 0;
  const std::byte* next = nullptr;  // read after these weights; null: what lies there
  int64_t k = 0;
  const std::byte* x = nullptr;  // packed activations of all tokens
  int64_t tiles = 0;             // of all tokens: what x was packed for
  int64_t tile_begin = 0;        // the task's token tiles
  int64_t tile_count = 0;
  int64_t stretch = 0;         // steps
  int64_t panel_groups = 2;    // that one panel holds, even
  std::byte* panel = nullptr;  // amx_panel_bytes()
  float* sums = nullptr;       // weights * groups * tile_count * 256
};

struct AmxLinearKernels {
  void (*configure)() = nullptr;  // each worker, before its first task of a launch
  void (*release)() = nullptr;    // and behind its last
  // Tokens [0, tokens) of x (stride floats apart), as the tiles of one token tile, steps
  // [step_begin, step_end) of one stretch: out is the first one's place.
  void (*pack)(const float* x, int64_t stride, int tokens, int64_t k, int64_t step_begin,
               int64_t step_end, std::byte* out) = nullptr;
  void (*sum)(const AmxTask& task) = nullptr;
  LinearFinishFn finish = nullptr;
};

inline constexpr int kAmxTokens = 16;    // of a token tile
inline constexpr int64_t kAmxStep = 32;  // inputs of a step
// Token tiles up to which a task keeps its sums in tile registers.
inline constexpr int64_t kAmxFewTiles = 2;
constexpr int64_t kAmxSide = 4;  // groups that such a task reads side by side
// Two panels; at least four steps of four groups, for few tokens.
constexpr size_t amx_panel_bytes(int64_t stretch, int64_t panel_groups) {
  const int64_t tiles = 2 * stretch * panel_groups;
  return static_cast<size_t>(tiles > 16 ? tiles : 16) * 1024;
}

// Null where AMX has no kernel for this weight type.
const AmxLinearKernels* amx_linear_kernels(DType weight);
// The same kernels with tile registers emulated in memory (AVX-512 VNNI): for tests.
const AmxLinearKernels* emulated_amx_linear_kernels(DType weight);

}  // namespace tokamak
