// What the linear tactics share: which uses of linear and linear_glu they take, and how a tile
// ends.
#pragma once
#include "backend/backend.h"
#include "backend/cpu/element.h"
#include "backend/cpu/linear/rows16.h"
#include "backend/cpu/linear/rows16_layout.h"
#include "backend/cpu/linear/tile.h"
#include "ops/linear.h"

namespace tokamak {

// The weights among the inputs are 1 and, of linear_glu, 2; biases follow them.
inline size_t linear_weights(Op op) { return op == Op::linear_glu ? 2 : 1; }

inline std::string_view linear_weight_layout(Op op, int input) {
  return input >= 1 && static_cast<size_t>(input) <= linear_weights(op) ? kRows16 : "plain";
}

// Rows of float32 in and out, equal weights in rows16, biases of one dtype.
inline bool linear_operands_fit(const OpSignature& s) {
  const size_t weights = linear_weights(s.op);
  if (s.inputs[0].dtype != DType::f32 || s.outputs[0].dtype != DType::f32) return false;
  if (s.inputs[0].shape.size() != 2) return false;
  const LinearAttrs a = LinearAttrs::from(s.attrs);
  if (a.has_residual && s.inputs.back().dtype != DType::f32) return false;
  const ValueType& w = s.inputs[1];
  if (weights == 2 && s.inputs[2] != w) return false;
  const size_t bias = 1 + weights;
  if (a.has_bias && (!is_activation_dtype(s.inputs[bias].dtype) ||
                     (weights == 2 && s.inputs[bias + 1].dtype != s.inputs[bias].dtype)))
    return false;
  return rows16_fits(w.dtype, w.shape.back().size);
}

// The operands of a tile's end: bias, residual and output of tokens from `first`, outputs from
// `column`.
inline LinearFinish finish_args(const LaunchArgs& args, const LinearAttrs& attrs, DType bias_dtype,
                                bool glu, int64_t first, int64_t column) {
  LinearFinish f;
  f.activation = attrs.activation;
  f.glu = glu;
  f.bias_dtype = bias_dtype;
  const size_t bias_at = static_cast<size_t>(column) * info(bias_dtype).block_bytes;
  const size_t weights = glu ? 2 : 1;
  if (attrs.has_bias) {
    f.bias_a = args.in[1 + weights].data + bias_at;
    if (glu) f.bias_b = args.in[2 + weights].data + bias_at;
  }
  if (attrs.has_residual) {
    const Operand& r = args.in.back();
    f.residual = r.as<const float>() + first * r.row_stride + column;
    f.residual_stride = r.row_stride;
  }
  f.out_stride = args.out[0].row_stride;
  f.out = args.out[0].as<float>() + first * f.out_stride + column;
  return f;
}

// Asks for the lines that a task of `tokens` rows and `groups` groups of outputs will write, which
// another core has read: they are here when its sums are.
inline void own_outputs(const LaunchArgs& args, int64_t first, int64_t tokens, int64_t group,
                        int64_t groups) {
  const int64_t stride = args.out[0].row_stride;
  const float* row = args.out[0].as<const float>() + first * stride + group * kGroupRows;
  for (int64_t t = 0; t < tokens; ++t, row += stride)
    for (int64_t g = 0; g < groups; ++g) asm volatile("prefetchw %0" : : "m"(row[g * kGroupRows]));
}

}  // namespace tokamak
