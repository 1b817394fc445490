// y [tokens, n] = x [tokens, k] · weightᵀ (+ bias) (+ beta * c), by one of the algorithms that
// cuBLASLt proposes for the shape.
#pragma once
#include "backend/cuda/cublaslt/layouts.h"

namespace tokamak {

struct MatmulShape {
  int64_t n = 0, k = 0;
  DType x = DType::f16, weight = DType::f16, y = DType::f16;
  bool has_bias = false;  // of y's dtype
  int choice = 0;         // which of the proposals, the first being held the best
};

struct MatmulOperands {
  const void *x = nullptr, *weight = nullptr, *bias = nullptr, *c = nullptr;
  void* y = nullptr;
  int64_t tokens = 0, x_stride = 0, c_stride = 0, y_stride = 0;  // in elements
  void* workspace = nullptr;                                     // kMatmulWorkspace bytes
};

class Matmul {
 public:
  Matmul(std::shared_ptr<const CublasLt> lt, const MatmulShape& shape);
  // Error when cuBLASLt has no algorithm for this shape.
  void run(const MatmulOperands& o, cudaStream_t stream) const;

 private:
  const std::shared_ptr<const CublasLt> lt_;
  const MatmulShape shape_;
  mutable Algorithms algorithms_;
};

}  // namespace tokamak
