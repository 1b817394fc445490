// What cuBLASLt is told of a product, and the algorithms that it proposes for it. cuBLAS is
// column-major: yᵀ [n, tokens] = weight (stored [k, n], transposed) · xᵀ [k, tokens].
#pragma once
#include <compare>
#include <map>
#include <mutex>
#include <vector>

#include "backend/cuda/cublaslt/library.h"
#include "base/dtype.h"

namespace tokamak {

inline constexpr size_t kMatmulWorkspace = 32 << 20;

cudaDataType_t cublas_type(DType t);  // f16, bf16, f32, f8e4m3
// The power of two, up to 256, that the address of every row divides by; stride in elements.
uint32_t row_alignment(const void* p, int64_t stride, DType t);

struct Alignments {
  uint32_t weight = 0, x = 0, c = 0, y = 0;
  auto operator<=>(const Alignments&) const = default;
};

// Sums in float32; the weight is transposed. Layouts are made by the owner.
struct MatmulLayouts {
  explicit MatmulLayouts(const CublasLt& library);
  ~MatmulLayouts();
  MatmulLayouts(const MatmulLayouts&) = delete;
  template <typename T>
  void set(cublasLtMatmulDescAttributes_t attribute, const T& value) {
    TOKAMAK_CUBLASLT(lt.desc_set(desc, attribute, &value, sizeof(value)));
  }
  void make(cublasLtMatrixLayout_t& layout, DType t, int64_t rows, int64_t columns,
            int64_t stride) const;

  const CublasLt& lt;
  cublasLtMatmulDesc_t desc = nullptr;
  cublasLtMatrixLayout_t weight = nullptr, x = nullptr, c = nullptr, y = nullptr;
};

// One product: alpha is 1, strides are in elements.
struct MatmulCall {
  const void *weight = nullptr, *x = nullptr, *c = nullptr;  // c null: nothing is added
  void *y = nullptr, *workspace = nullptr;                   // kMatmulWorkspace bytes
  int64_t tokens = 0, c_stride = 0, y_stride = 0;
  Alignments aligned;
};

// Which algorithm runs a product. cuBLASLt proposes some, the first being held the best; `choice`
// is taken, or the next one that it does not refuse after all when it is to run.
class Algorithms {
 public:
  explicit Algorithms(int choice) : choice_(choice) {}
  // Error that names `what` when no algorithm runs.
  void run(const MatmulLayouts& layouts, const MatmulCall& call, const std::string& what,
           cudaStream_t stream);

 private:
  struct Key {  // what a proposal depends on
    int64_t tokens, c_stride, y_stride;
    Alignments aligned;
    auto operator<=>(const Key&) const = default;
  };
  const int choice_;
  std::mutex mutex_;
  std::map<Key, cublasLtMatmulAlgo_t> known_;
};

}  // namespace tokamak
