// Launchers of the reference kernels: every dtype, float32 arithmetic, no tuning. All return at
// once; errors are the stream's.
#pragma once
#include "backend/cuda/kernels/operand.h"

namespace tokamak::cuda {

// A row's place in an operand that is broadcast over the result's rows: row r of the result has
// indices r / inner % size of each leading dimension; step 0 where the operand has size 1.
struct RowMap {
  static constexpr int kMaxDims = 6;
  int dims = 0;
  int64_t size[kMaxDims] = {}, step[kMaxDims] = {};  // innermost first
};

enum class MapKind : int {
  neg,
  abs,
  exp,
  log,
  sqrt,
  rsqrt,
  square,
  tanh,
  erf,
  sigmoid,
  silu,
  gelu,
  gelu_tanh,
  relu,
  softcap,
  copy,
};
enum class PairKind : int { add, sub, mul, div, pow, max, min };
enum class ReduceKind : int { sum, mean, max };

void fill(RowsArg y, float value, cudaStream_t stream);
void map(MapKind kind, float cap, RowsArg x, RowsArg y, cudaStream_t stream);
void pair(PairKind kind, RowsArg a, RowMap map_a, RowsArg b, RowMap map_b, RowsArg y,
          cudaStream_t stream);
void glu(MapKind activation, RowsArg a, RowsArg b, RowsArg y, cudaStream_t stream);
void reduce(ReduceKind kind, RowsArg x, RowsArg y, cudaStream_t stream);
void softmax(RowsArg x, RowsArg y, cudaStream_t stream);

// Row-major order stays, rows may be of another width. Elements of 1, 2, 4 or 8 bytes.
void reshape(RowsArg x, RowsArg y, int element_bytes, cudaStream_t stream);
// y row r = x row index[r / group] * group + r % group.
void gather(RowsArg x, const int32_t* index, int64_t group, RowsArg y, int element_bytes,
            cudaStream_t stream);
struct WeightRef {
  const void* data = nullptr;
  int64_t rows = 0, width = 0;
  DType dtype = DType::f32;
};
void embedding(const int32_t* ids, WeightRef table, float scale, RowsArg y, cudaStream_t stream);

struct NormArg {
  RowsArg x, residual, weight, bias, y, sum;  // null data where the op has none
  bool centered = false;                      // layer norm
  float eps = 0;
};
void norm(const NormArg& n, cudaStream_t stream);

// Rotary tables in device memory: the second one, where there is one, from length `long_from` on;
// kind dynamic makes its own beyond max_position.
struct RopeArg {
  int head_dim = 0, rotary_dim = 0;
  bool neox = true;
  const float *table = nullptr, *long_table = nullptr;  // [rotary_dim / 2]
  float magnitude = 1, long_magnitude = 1;
  int64_t long_from = 0;
  bool dynamic = false;
  double theta = 0, factor = 1;
  int64_t max_position = 0;
};
void rope(RowsArg x, const int32_t* positions, const RopeArg& r, const StepArg& step, RowsArg y,
          cudaStream_t stream);

struct LinearArg {
  RowsArg x, bias, bias_b, residual, y;
  WeightRef w, w_b;  // w_b: linear_glu
  MapKind activation = MapKind::copy;
};
void linear(const LinearArg& l, cudaStream_t stream);

struct AttentionArg {
  RowsArg q, k, v, q_weight, k_weight, y;
  const int32_t* positions = nullptr;
  int heads = 0, kv_heads = 0, head_dim = 0;
  float scale = 0, softcap = 0;
  int64_t window = 0;
  int alibi = 0;  // alibi_row(heads) of ops/attention.h; 0: none
  bool qk_norm = false, has_rope = false;
  float qk_eps = 0;
  RopeArg rope;
  DType kv_dtype = DType::f16;
  int block_size = 0;
  uint8_t *k_cache = nullptr, *v_cache = nullptr;
  float k_scale = 1, v_scale = 1;  // of f8e4m3 codes
};
void attention(const AttentionArg& a, const StepArg& step, cudaStream_t stream);

}  // namespace tokamak::cuda
