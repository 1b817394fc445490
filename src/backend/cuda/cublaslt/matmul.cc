#include "backend/cuda/cublaslt/matmul.h"

#include <algorithm>
#include <array>

#include "base/error.h"

namespace tokamak {
namespace {

constexpr int kProposals = 8;

// The power of two, up to 256, that the address of every row divides by.
uint32_t alignment(const void* p, int64_t stride, DType t) {
  const uint64_t all = reinterpret_cast<uintptr_t>(p) | 256 |
                       static_cast<uint64_t>(stride) * static_cast<uint64_t>(info(t).block_bytes);
  return static_cast<uint32_t>(all & -all);
}

cudaDataType_t type_of(DType t) {
  return t == DType::f16 ? CUDA_R_16F : t == DType::bf16 ? CUDA_R_16BF : CUDA_R_32F;
}

}  // namespace

// cuBLAS is column-major: yᵀ [n, tokens] = weight (stored [k, n], transposed) · xᵀ [k, tokens].
struct Matmul::Layouts {
  Layouts(const CublasLt& library, const MatmulShape& s, const MatmulOperands& o) : lt(library) {
    TOKAMAK_CUBLASLT(lt.desc_create(&desc, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    const cublasOperation_t transposed = CUBLAS_OP_T;
    set(CUBLASLT_MATMUL_DESC_TRANSA, transposed);
    if (s.has_bias) {
      const cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_BIAS;
      set(CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue);
      set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, o.bias);
      const cudaDataType_t bias_type = type_of(s.y);
      set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, bias_type);
    }
    const auto k = static_cast<uint64_t>(s.k), n = static_cast<uint64_t>(s.n);
    const auto tokens = static_cast<uint64_t>(o.tokens);
    TOKAMAK_CUBLASLT(lt.layout_create(&weight, type_of(s.weight), k, n, s.k));
    TOKAMAK_CUBLASLT(lt.layout_create(&x, type_of(s.x), k, tokens, o.x_stride));
    TOKAMAK_CUBLASLT(lt.layout_create(&c, type_of(s.y), n, tokens, o.c ? o.c_stride : o.y_stride));
    TOKAMAK_CUBLASLT(lt.layout_create(&y, type_of(s.y), n, tokens, o.y_stride));
  }
  ~Layouts() {
    for (cublasLtMatrixLayout_t l : {weight, x, c, y})
      if (l != nullptr) lt.layout_destroy(l);
    if (desc != nullptr) lt.desc_destroy(desc);
  }
  template <typename T>
  void set(cublasLtMatmulDescAttributes_t attribute, const T& value) {
    TOKAMAK_CUBLASLT(lt.desc_set(desc, attribute, &value, sizeof(value)));
  }
  const CublasLt& lt;
  cublasLtMatmulDesc_t desc = nullptr;
  cublasLtMatrixLayout_t weight = nullptr, x = nullptr, c = nullptr, y = nullptr;
};

Matmul::Matmul(std::shared_ptr<const CublasLt> lt, const MatmulShape& shape)
    : lt_(std::move(lt)), shape_(shape) {}
Matmul::~Matmul() = default;

const cublasLtMatmulAlgo_t& Matmul::algorithm(const Layouts& l, const Key& key) const {
  const std::lock_guard lock(mutex_);
  if (const auto it = algorithms_.find(key); it != algorithms_.end()) return it->second;
  cublasLtMatmulPreference_t preference = nullptr;
  TOKAMAK_CUBLASLT(lt_->preference_create(&preference));
  const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t attribute, auto value) {
    TOKAMAK_CUBLASLT(lt_->preference_set(preference, attribute, &value, sizeof(value)));
  };
  prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, kMatmulWorkspace);
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, key.weight);
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, key.x);
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, key.c);
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, key.y);
  std::array<cublasLtMatmulHeuristicResult_t, kProposals> found{};
  int count = 0;
  const cublasStatus_t status = lt_->heuristic(lt_->handle, l.desc, l.weight, l.x, l.c, l.y,
                                               preference, kProposals, found.data(), &count);
  lt_->preference_destroy(preference);
  if (status != CUBLAS_STATUS_SUCCESS || count == 0)
    fail("cuBLASLt has no algorithm for {} tokens, weight {} x {} of {} (status {})", key.tokens,
         shape_.n, shape_.k, name(shape_.weight), static_cast<int>(status));
  const auto which = static_cast<size_t>(std::min(shape_.choice, count - 1));
  return algorithms_.emplace(key, found[which].algo).first->second;
}

void Matmul::run(const MatmulOperands& o, cudaStream_t stream) const {
  if (o.tokens == 0) return;
  const Layouts l(*lt_, shape_, o);
  const Key key{o.tokens, alignment(o.weight, shape_.k, shape_.weight),
                alignment(o.x, o.x_stride, shape_.x),
                o.c ? alignment(o.c, o.c_stride, shape_.y) : alignment(o.y, o.y_stride, shape_.y),
                alignment(o.y, o.y_stride, shape_.y)};
  const float one = 1, beta = o.c ? 1 : 0;
  TOKAMAK_CUBLASLT(lt_->matmul(lt_->handle, l.desc, &one, o.weight, l.weight, o.x, l.x, &beta,
                               o.c ? o.c : o.y, l.c, o.y, l.y, &algorithm(l, key), o.workspace,
                               kMatmulWorkspace, stream));
}

}  // namespace tokamak
