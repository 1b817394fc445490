#include "backend/cuda/cublaslt/f8_matmul.h"

#include "backend/cuda/cublaslt/matmul.h"
#include "base/error.h"

namespace tokamak {
namespace {

constexpr size_t kFirstVersion = 120900;

// Of their enumeration, so that older headers compile.
constexpr int32_t kScalePerRow = 3;  // CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F
constexpr auto kWeightScaleMode = static_cast<cublasLtMatmulDescAttributes_t>(31);
constexpr auto kXScaleMode = static_cast<cublasLtMatmulDescAttributes_t>(32);

// The power of two, up to 256, that an address divides by; strides are multiples of 16 bytes.
uint32_t alignment(const void* p, int64_t stride, DType t) {
  const uint64_t all = reinterpret_cast<uintptr_t>(p) | 256 |
                       static_cast<uint64_t>(stride) * static_cast<uint64_t>(info(t).block_bytes);
  return static_cast<uint32_t>(all & -all);
}

cudaDataType_t type_of(DType t) {
  return t == DType::f16 ? CUDA_R_16F : t == DType::bf16 ? CUDA_R_16BF : CUDA_R_32F;
}

}  // namespace

bool has_f8_matmul(const CublasLt& lt) { return lt.version() >= kFirstVersion; }

// cuBLAS is column-major: yᵀ [n, tokens] = weight (stored [k, n], transposed) · xᵀ [k, tokens].
struct F8Matmul::Layouts {
  Layouts(const F8Matmul& m, const F8MatmulOperands& o) : lt(*m.lt_) {
    TOKAMAK_CUBLASLT(lt.desc_create(&desc, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    const cublasOperation_t transposed = CUBLAS_OP_T;
    set(CUBLASLT_MATMUL_DESC_TRANSA, transposed);
    const int8_t fast = m.fast_;
    set(CUBLASLT_MATMUL_DESC_FAST_ACCUM, fast);
    set(kWeightScaleMode, kScalePerRow);
    set(kXScaleMode, kScalePerRow);
    set(CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, o.weight_scales);
    set(CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, o.x_scales);
    const auto k = static_cast<uint64_t>(m.k_), n = static_cast<uint64_t>(m.n_);
    const auto tokens = static_cast<uint64_t>(o.tokens);
    const int64_t c_stride = o.c ? o.c_stride : o.y_stride;
    TOKAMAK_CUBLASLT(lt.layout_create(&weight, CUDA_R_8F_E4M3, k, n, m.k_));
    TOKAMAK_CUBLASLT(lt.layout_create(&x, CUDA_R_8F_E4M3, k, tokens, m.k_));
    TOKAMAK_CUBLASLT(lt.layout_create(&c, type_of(m.y_), n, tokens, c_stride));
    TOKAMAK_CUBLASLT(lt.layout_create(&y, type_of(m.y_), n, tokens, o.y_stride));
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

F8Matmul::F8Matmul(std::shared_ptr<const CublasLt> lt, int64_t n, int64_t k, DType y, bool fast)
    : lt_(std::move(lt)), n_(n), k_(k), y_(y), fast_(fast) {}
F8Matmul::~F8Matmul() = default;

const cublasLtMatmulAlgo_t& F8Matmul::algorithm(const Layouts& l, const Key& key) const {
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
  cublasLtMatmulHeuristicResult_t found{};
  int count = 0;
  const cublasStatus_t status =
      lt_->heuristic(lt_->handle, l.desc, l.weight, l.x, l.c, l.y, preference, 1, &found, &count);
  lt_->preference_destroy(preference);
  if (status != CUBLAS_STATUS_SUCCESS || count == 0)
    fail("cuBLASLt has no FP8 algorithm for {} tokens, weight {} x {}, y in {} (status {})",
         key.tokens, n_, k_, name(y_), static_cast<int>(status));
  return algorithms_.emplace(key, found.algo).first->second;
}

void F8Matmul::run(const F8MatmulOperands& o, cudaStream_t stream) const {
  if (o.tokens == 0) return;
  const Layouts l(*this, o);
  const uint32_t of_y = alignment(o.y, o.y_stride, y_);
  const Key key{o.tokens,
                o.c ? o.c_stride : o.y_stride,
                o.y_stride,
                alignment(o.weight, k_, DType::f8e4m3),
                alignment(o.x, k_, DType::f8e4m3),
                o.c ? alignment(o.c, o.c_stride, y_) : of_y,
                of_y};
  const float one = 1, beta = o.c ? 1 : 0;
  TOKAMAK_CUBLASLT(lt_->matmul(lt_->handle, l.desc, &one, o.weight, l.weight, o.x, l.x, &beta,
                               o.c ? o.c : o.y, l.c, o.y, l.y, &algorithm(l, key), o.workspace,
                               kMatmulWorkspace, stream));
}

}  // namespace tokamak
