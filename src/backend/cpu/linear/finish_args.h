// The operands of one tile's end: bias, residual and output of tokens from `first`, outputs from
// `column`.
#pragma once
#include "backend/backend.h"
#include "backend/cpu/linear/tile.h"
#include "ops/linear.h"

namespace tokamak {

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

}  // namespace tokamak
