// y [tokens, n] = (x · scales of x) · (weight · scales of weight)ᵀ (+ c) in e4m3 codes with a scale
// per row of each side, by cuBLASLt (12.9 and later, sm_90). Or without scales, for which it has
// more algorithms: y = factor · x · weightᵀ (+ c), of two weights at once where they are given.
#pragma once
#include "backend/cuda/cublaslt/layouts.h"

namespace tokamak {

struct F8MatmulOperands {
  const void *x = nullptr, *weight = nullptr, *c = nullptr;  // rows of codes are k apart
  const float *x_scales = nullptr, *weight_scales = nullptr;
  void* y = nullptr;
  // Of two products: where the second weight and result lie behind the first, in elements.
  int64_t weight_apart = 0, y_apart = 0;
  // In elements; of rows of 16 bytes.
  int64_t tokens = 0, c_stride = 0, y_stride = 0;
  void* workspace = nullptr;  // kMatmulWorkspace bytes
};

struct F8MatmulShape {
  int64_t n = 0, k = 0;
  DType y = DType::f16;  // f16, bf16 or f32; of c, too
  bool fast = true;      // sums that lose a few bits, as hardware adds fastest
  bool scaled = true;
  float factor = 1;  // without scales
  int products = 1;
  int choice = 0;  // which of the proposals
};

class F8Matmul {
 public:
  F8Matmul(std::shared_ptr<const CublasLt> lt, const F8MatmulShape& shape);
  // Error when cuBLASLt has no algorithm for this shape.
  void run(const F8MatmulOperands& o, cudaStream_t stream) const;

 private:
  const std::shared_ptr<const CublasLt> lt_;
  const F8MatmulShape shape_;
  mutable Algorithms algorithms_;
};

// Whether the headers and the library found know scales per row.
bool has_f8_matmul(const CublasLt& lt);

}  // namespace tokamak
