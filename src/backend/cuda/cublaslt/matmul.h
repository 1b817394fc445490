// y [tokens, n] = x [tokens, k] · weightᵀ (+ bias) (+ beta * c), by one of the algorithms that
// cuBLASLt proposes for the shape.
#pragma once
#include <compare>
#include <map>
#include <mutex>

#include "backend/cuda/cublaslt/library.h"
#include "base/dtype.h"

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

inline constexpr size_t kMatmulWorkspace = 32 << 20;

class Matmul {
 public:
  Matmul(std::shared_ptr<const CublasLt> lt, const MatmulShape& shape);
  ~Matmul();
  // Error when cuBLASLt has no algorithm for this shape.
  void run(const MatmulOperands& o, cudaStream_t stream) const;

 private:
  struct Layouts;
  struct Key {  // what a proposal depends on: tokens, and bytes that the operands are aligned to
    int64_t tokens;
    uint32_t weight, x, c, y;
    auto operator<=>(const Key&) const = default;
  };
  const cublasLtMatmulAlgo_t& algorithm(const Layouts& layouts, const Key& key) const;

  const std::shared_ptr<const CublasLt> lt_;
  const MatmulShape shape_;
  mutable std::mutex mutex_;
  mutable std::map<Key, cublasLtMatmulAlgo_t> algorithms_;
};

}  // namespace tokamak
