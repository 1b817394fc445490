// What cuBLASLt is told of a product, and the algorithms that it proposes for it. cuBLAS is
// column-major: yᵀ [n, tokens] = weight (stored [k, n], transposed) · xᵀ [k, tokens].
#pragma once
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

// At most so many, the first being held the best; empty when there are none, *status says why.
std::vector<cublasLtMatmulAlgo_t> propose(const MatmulLayouts& layouts, const Alignments& of,
                                          int most, cublasStatus_t* status);

}  // namespace tokamak
