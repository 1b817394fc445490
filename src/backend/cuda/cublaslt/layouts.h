// What cuBLASLt is told of a product, and the algorithms that it proposes for it. cuBLAS is
// column-major: yᵀ [n, tokens] = weight (stored [k, n], transposed) · xᵀ [k, tokens].
#pragma once
#include <bit>
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
  // So many matrices of the layout, `apart` elements from one to the next.
  void repeat(cublasLtMatrixLayout_t layout, int32_t count, int64_t apart) const;

  const CublasLt& lt;
  cublasLtMatmulDesc_t desc = nullptr;
  cublasLtMatrixLayout_t weight = nullptr, x = nullptr, c = nullptr, y = nullptr;
};

// One product; strides are in elements.
struct MatmulCall {
  const void *weight = nullptr, *x = nullptr, *c = nullptr;  // c null: nothing is added
  void *y = nullptr, *workspace = nullptr;                   // kMatmulWorkspace bytes
  int64_t tokens = 0, c_stride = 0, y_stride = 0;
  Alignments aligned;
  float alpha = 1;
};

// Which algorithm runs a product. cuBLASLt proposes some, the first being held the best; `choice`
// is taken, or the next one that it does not refuse after all when it is to run. Other choices than
// the first mean proposals for the power of two from `tokens` on, for which they have been timed.
class Algorithms {
 public:
  explicit Algorithms(int choice) : choice_(choice) {}
  // make(layouts, tokens) fills the layouts. Error that names what() when no algorithm runs.
  template <typename Make, typename What>
  void run(const CublasLt& lt, const MatmulCall& call, const Make& make, const What& what,
           cudaStream_t stream) {
    MatmulLayouts layouts(lt);
    make(layouts, call.tokens);
    if (run_known(layouts, call, what, stream)) return;
    MatmulLayouts timed(lt);
    const auto tokens = static_cast<uint64_t>(call.tokens);
    make(timed, choice_ == 0 ? call.tokens : static_cast<int64_t>(std::bit_ceil(tokens)));
    find(timed, layouts, call, what(), stream);
  }

 private:
  struct Key {  // what a proposal depends on
    int64_t tokens, c_stride, y_stride;
    Alignments aligned;
    auto operator<=>(const Key&) const = default;
  };
  cublasStatus_t multiply(const MatmulLayouts& l, const MatmulCall& m,
                          const cublasLtMatmulAlgo_t& algorithm, cudaStream_t stream) const;
  template <typename What>
  bool run_known(const MatmulLayouts& l, const MatmulCall& m, const What& what,
                 cudaStream_t stream) {
    const std::lock_guard lock(mutex_);
    const auto it = known_.find({m.tokens, m.c_stride, m.y_stride, m.aligned});
    if (it == known_.end()) return false;
    if (const cublasStatus_t status = multiply(l, m, it->second, stream);
        status != CUBLAS_STATUS_SUCCESS)
      cublaslt_check(status, what().c_str());
    return true;
  }
  void find(const MatmulLayouts& timed, const MatmulLayouts& l, const MatmulCall& m,
            const std::string& what, cudaStream_t stream);

  const int choice_;
  std::mutex mutex_;
  std::map<Key, cublasLtMatmulAlgo_t> known_;
};

}  // namespace tokamak
