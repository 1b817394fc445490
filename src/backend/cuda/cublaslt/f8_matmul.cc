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

void F8Matmul::run(const F8MatmulOperands& o, cudaStream_t stream) const {
  if (o.tokens == 0) return;
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
  const Alignments aligned{
      row_alignment(o.weight, k_, DType::f8e4m3), row_alignment(o.x, k_, DType::f8e4m3),
      row_alignment(o.c ? o.c : o.y, c_stride, y_), row_alignment(o.y, o.y_stride, y_)};
  algorithms_.run(l,
                  {o.weight, o.x, o.c, o.y, o.workspace, o.tokens, c_stride, o.y_stride, aligned},
                  fmt::format("an FP8 weight {} x {}, y in {}", n_, k_, name(y_)), stream);
}

}  // namespace tokamak
