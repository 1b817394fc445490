#include "backend/cuda/cublaslt/matmul.h"

#include "base/error.h"

namespace tokamak {

Matmul::Matmul(std::shared_ptr<const CublasLt> lt, const MatmulShape& shape)
    : lt_(std::move(lt)), shape_(shape), algorithms_(shape.choice) {}

void Matmul::run(const MatmulOperands& o, cudaStream_t stream) const {
  if (o.tokens == 0) return;
  const MatmulShape& s = shape_;
  const int64_t c_stride = o.c ? o.c_stride : o.y_stride;
  const auto make = [&](MatmulLayouts& l, int64_t tokens) {
    if (s.has_bias) {
      const cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_BIAS;
      l.set(CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue);
      l.set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, o.bias);
      l.set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, cublas_type(s.y));
    }
    l.make(l.weight, s.weight, s.k, s.n, s.k);
    l.make(l.x, s.x, s.k, tokens, o.x_stride);
    l.make(l.c, s.y, s.n, tokens, c_stride);
    l.make(l.y, s.y, s.n, tokens, o.y_stride);
  };
  const Alignments aligned{
      row_alignment(o.weight, s.k, s.weight), row_alignment(o.x, o.x_stride, s.x),
      row_alignment(o.c ? o.c : o.y, c_stride, s.y), row_alignment(o.y, o.y_stride, s.y)};
  const auto what = [&] { return fmt::format("a weight {} x {} of {}", s.n, s.k, name(s.weight)); };
  algorithms_.run(*lt_,
                  {o.weight, o.x, o.c, o.y, o.workspace, o.tokens, c_stride, o.y_stride, aligned},
                  make, what, stream);
}

}  // namespace tokamak
