#include "backend/cuda/cublaslt/f8_matmul.h"

#include "base/error.h"

namespace tokamak {
namespace {

constexpr size_t kFirstVersion = 120900;

// Of their enumeration, so that older headers compile.
constexpr int32_t kScalePerRow = 3;  // CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F
constexpr auto kWeightScaleMode = static_cast<cublasLtMatmulDescAttributes_t>(31);
constexpr auto kXScaleMode = static_cast<cublasLtMatmulDescAttributes_t>(32);

}  // namespace

bool has_f8_matmul(const CublasLt& lt) { return lt.version() >= kFirstVersion; }

F8Matmul::F8Matmul(std::shared_ptr<const CublasLt> lt, int64_t n, int64_t k, DType y, bool fast)
    : lt_(std::move(lt)), n_(n), k_(k), y_(y), fast_(fast) {}

const cublasLtMatmulAlgo_t& F8Matmul::algorithm(const MatmulLayouts& l, const Key& key) const {
  const std::lock_guard lock(mutex_);
  if (const auto it = algorithms_.find(key); it != algorithms_.end()) return it->second;
  cublasStatus_t status;
  const auto found = propose(l, key.aligned, 1, &status);
  if (found.empty())
    fail("cuBLASLt has no FP8 algorithm for {} tokens, weight {} x {}, y in {} (status {})",
         key.tokens, n_, k_, name(y_), static_cast<int>(status));
  return algorithms_.emplace(key, found[0]).first->second;
}

void F8Matmul::run(const F8MatmulOperands& o, cudaStream_t stream) const {
  if (o.tokens == 0) return;
  const void* c = o.c ? o.c : o.y;
  const int64_t c_stride = o.c ? o.c_stride : o.y_stride;
  MatmulLayouts l(*lt_);
  const int8_t fast = fast_;
  l.set(CUBLASLT_MATMUL_DESC_FAST_ACCUM, fast);
  l.set(kWeightScaleMode, kScalePerRow);
  l.set(kXScaleMode, kScalePerRow);
  l.set(CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, o.weight_scales);
  l.set(CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, o.x_scales);
  l.make(l.weight, DType::f8e4m3, k_, n_, k_);
  l.make(l.x, DType::f8e4m3, k_, o.tokens, k_);
  l.make(l.c, y_, n_, o.tokens, c_stride);
  l.make(l.y, y_, n_, o.tokens, o.y_stride);
  const Key key{o.tokens,
                c_stride,
                o.y_stride,
                {row_alignment(o.weight, k_, DType::f8e4m3), row_alignment(o.x, k_, DType::f8e4m3),
                 row_alignment(c, c_stride, y_), row_alignment(o.y, o.y_stride, y_)}};
  const float one = 1, beta = o.c ? 1 : 0;
  TOKAMAK_CUBLASLT(lt_->matmul(lt_->handle, l.desc, &one, o.weight, l.weight, o.x, l.x, &beta, c,
                               l.c, o.y, l.y, &algorithm(l, key), o.workspace, kMatmulWorkspace,
                               stream));
}

}  // namespace tokamak
