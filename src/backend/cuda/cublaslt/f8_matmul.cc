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

F8Matmul::F8Matmul(std::shared_ptr<const CublasLt> lt, const F8MatmulShape& shape)
    : lt_(std::move(lt)), shape_(shape), algorithms_(shape.choice) {}

void F8Matmul::run(const F8MatmulOperands& o, cudaStream_t stream) const {
  if (o.tokens == 0) return;
  const F8MatmulShape& s = shape_;
  const int64_t c_stride = o.c ? o.c_stride : o.y_stride;
  const auto make = [&](MatmulLayouts& l, int64_t tokens) {
    const int8_t fast = s.fast;
    l.set(CUBLASLT_MATMUL_DESC_FAST_ACCUM, fast);
    if (s.scaled) {
      l.set(kWeightScaleMode, kScalePerRow);
      l.set(kXScaleMode, kScalePerRow);
      l.set(CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, o.weight_scales);
      l.set(CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, o.x_scales);
    }
    l.make(l.weight, DType::f8e4m3, s.k, s.n, s.k);
    l.make(l.x, DType::f8e4m3, s.k, tokens, s.k);
    l.make(l.c, s.y, s.n, tokens, c_stride);
    l.make(l.y, s.y, s.n, tokens, o.y_stride);
    if (s.products == 1) return;
    l.repeat(l.weight, s.products, o.weight_apart);
    l.repeat(l.x, s.products, 0);
    l.repeat(l.c, s.products, o.y_apart);
    l.repeat(l.y, s.products, o.y_apart);
  };
  const Alignments aligned{
      row_alignment(o.weight, s.k, DType::f8e4m3), row_alignment(o.x, s.k, DType::f8e4m3),
      row_alignment(o.c ? o.c : o.y, c_stride, s.y), row_alignment(o.y, o.y_stride, s.y)};
  const auto what = [&] {
    return fmt::format("an FP8 weight {} x {}, y in {}", s.n, s.k, name(s.y));
  };
  algorithms_.run(*lt_,
                  {o.weight, o.x, o.c, o.y, o.workspace, o.tokens, c_stride, o.y_stride, aligned,
                   s.scaled ? 1 : s.factor},
                  make, what, stream);
}

}  // namespace tokamak
