#include "backend/cuda/bound_linear.h"

#include "backend/cuda/map_kind.h"

namespace tokamak {

BoundLinear::BoundLinear(const OpSignature& signature)
    : s(signature),
      attrs(LinearAttrs::from(s.attrs)),
      weights(s.op == Op::linear_glu ? 2 : 1),
      n(s.inputs[1].shape[0].size),
      k(s.inputs[1].shape[1].size),
      activation(map_kind(attrs.activation)) {}

cuda::RowsArg BoundLinear::in(size_t i, const LaunchArgs& args) const {
  return rows_arg(s.inputs[i], args.in[i], *args.step);
}

cuda::FinishArg BoundLinear::finish(const LaunchArgs& args) const {
  cuda::FinishArg f;
  f.y = rows_arg(s.outputs[0], args.out[0], *args.step);
  if (attrs.has_bias) f.bias = in(1 + weights, args);
  if (attrs.has_bias && weights == 2) f.bias_b = in(2 + weights, args);
  if (attrs.has_residual) f.residual = in(s.inputs.size() - 1, args);
  f.activation = activation;
  return f;
}

cuda::RowsArg BoundLinear::x_in_vectors(const LaunchArgs& args, std::byte* room,
                                        cudaStream_t stream) const {
  const cuda::RowsArg x = in(0, args);
  if (in_vectors(x)) return x;
  const cuda::RowsArg dense{room, x.rows, k, (k + 7) / 8 * 8, x.dtype};
  cuda::reshape(x, dense, 2, stream);
  return dense;
}

bool are_linear_operands(const OpSignature& s) {
  const size_t weights = s.op == Op::linear_glu ? 2 : 1;
  if (s.inputs[0].shape.size() != 2 || (weights == 2 && s.inputs[2] != s.inputs[1])) return false;
  for (size_t i = 0; i < s.inputs.size(); ++i)
    if ((i == 0 || i > weights) && !is_cuda_activation(s.inputs[i].dtype)) return false;
  return is_cuda_activation(s.outputs[0].dtype);
}

}  // namespace tokamak
