// y [tokens, n] = (x · scales of x) · (weight · scales of weight)ᵀ (+ c) in e4m3 codes with a scale
// per row of each side, by cuBLASLt (12.9 and later, sm_90).
#pragma once
#include "backend/cuda/cublaslt/layouts.h"

namespace tokamak {

struct F8MatmulOperands {
  const void *x = nullptr, *weight = nullptr, *c = nullptr;  // rows of codes are k apart
  const float *x_scales = nullptr, *weight_scales = nullptr;
  void* y = nullptr;
  // In elements; of rows of 16 bytes.
  int64_t tokens = 0, c_stride = 0, y_stride = 0;
  void* workspace = nullptr;  // kMatmulWorkspace bytes
};

class F8Matmul {
 public:
  // y: f16, bf16 or f32; of c, too. fast: sums that lose a few bits, as hardware adds fastest.
  F8Matmul(std::shared_ptr<const CublasLt> lt, int64_t n, int64_t k, DType y, bool fast);
  // Error when cuBLASLt has no algorithm for this shape.
  void run(const F8MatmulOperands& o, cudaStream_t stream) const;

 private:
  const std::shared_ptr<const CublasLt> lt_;
  const int64_t n_, k_;
  const DType y_;
  const bool fast_;
  mutable Algorithms algorithms_{0};
};

// Whether the headers and the library found know scales per row.
bool has_f8_matmul(const CublasLt& lt);

}  // namespace tokamak
