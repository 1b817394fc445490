// What the kernels of linear and linear_glu share: a signature's sizes, and its operands as the
// launchers take them.
#pragma once
#include "backend/cuda/cuda_tactic.h"
#include "backend/cuda/kernels/f8_rows.h"
#include "ops/linear.h"

namespace tokamak {

// weight [n, k], of linear_glu two of them.
struct BoundLinear {
  explicit BoundLinear(const OpSignature& s);
  cuda::RowsArg in(size_t i, const LaunchArgs& args) const;
  // y, and what comes after the product, which is yet to be named.
  cuda::FinishArg finish(const LaunchArgs& args) const;
  // x of 16 bits itself where its rows begin at multiples of 16 bytes, otherwise a copy in `room`,
  // in rows of k rounded up to a multiple of 8.
  cuda::RowsArg x_in_vectors(const LaunchArgs& args, std::byte* room, cudaStream_t stream) const;

  const OpSignature s;
  const LinearAttrs attrs;
  const size_t weights;
  const int64_t n, k;
  const cuda::MapKind activation;
};

// What every such kernel asks of a signature: x is a matrix; linear_glu's weights are alike; all
// but the weights has a dtype of activations.
bool are_linear_operands(const OpSignature& s);

}  // namespace tokamak
