// The memory-light ops over rows of float32: functions compiled once per ISA level, picked by
// table.
#pragma once
#include <cstdint>

namespace tokamak {

// Order of the table of maps; parse with unary_index().
enum class MapKind : uint8_t {
  neg,
  abs,
  exp,
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
  log,
  none,
};
inline constexpr int kMapKinds = 15;
enum class PairKind : uint8_t { add, sub, mul, div, max, min, pow };
inline constexpr int kPairKinds = 7;

struct NormArgs {
  const float* x;
  const float* residual;  // null: none
  float* sum;             // x + residual, when there is one
  const float* weight;
  const float* bias;  // null: none
  float* y;
  int64_t n;
  float eps;
  bool centers;  // layer norm
};

struct LightKernels {
  // y[i] = f(x[i]) for n elements.
  using Map = void (*)(const float* x, float* y, int64_t n);
  Map map[kMapKinds];
  void (*softcap)(const float* x, float* y, int64_t n, float cap);
  // y[i] = f(a[i * a_step], b[i * b_step]); a step is 1 or 0.
  using Pair = void (*)(const float* a, int a_step, const float* b, int b_step, float* y,
                        int64_t n);
  Pair pair[kPairKinds];
  // y[i] = f(a[i]) * b[i]
  using Glu = void (*)(const float* a, const float* b, float* y, int64_t n);
  Glu glu[kMapKinds];
  void (*norm)(const NormArgs& args);
  void (*softmax)(const float* x, float* y, int64_t n);
  float (*sum)(const float* x, int64_t n);
  float (*max)(const float* x, int64_t n);
  void (*scale)(float* x, int64_t n, float factor);
  // Heads of head_dim turned by cos and sin [rotary_dim / 2].
  void (*rope)(const float* x, float* y, int64_t heads, int64_t head_dim, int64_t rotary_dim,
               bool neox, const float* cos, const float* sin);
  // f16 or bf16 rows to float32.
  void (*widen_f16)(const void* x, float* y, int64_t n);
  void (*widen_bf16)(const void* x, float* y, int64_t n);
  // And back, to the nearest; round_*: as float32.
  void (*narrow_f16)(const float* x, void* y, int64_t n);
  void (*narrow_bf16)(const float* x, void* y, int64_t n);
  Map round_f16, round_bf16;
};

const LightKernels& light_kernels_avx2();
const LightKernels& light_kernels_avx512();

}  // namespace tokamak
