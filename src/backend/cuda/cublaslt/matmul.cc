#include "backend/cuda/cublaslt/matmul.h"

#include <algorithm>

#include "base/error.h"

namespace tokamak {

constexpr int kProposals = 8;

Matmul::Matmul(std::shared_ptr<const CublasLt> lt, const MatmulShape& shape)
    : lt_(std::move(lt)), shape_(shape) {}

const cublasLtMatmulAlgo_t& Matmul::algorithm(const MatmulLayouts& l, const Key& key) const {
  const std::lock_guard lock(mutex_);
  if (const auto it = algorithms_.find(key); it != algorithms_.end()) return it->second;
  cublasStatus_t status;
  const auto found = propose(l, key.aligned, kProposals, &status);
  if (found.empty())
    fail("cuBLASLt has no algorithm for {} tokens, weight {} x {} of {} (status {})", key.tokens,
         shape_.n, shape_.k, name(shape_.weight), static_cast<int>(status));
  const size_t which = std::min(static_cast<size_t>(shape_.choice), found.size() - 1);
  return algorithms_.emplace(key, found[which]).first->second;
}

void Matmul::run(const MatmulOperands& o, cudaStream_t stream) const {
  if (o.tokens == 0) return;
  const MatmulShape& s = shape_;
  const void* c = o.c ? o.c : o.y;
  const int64_t c_stride = o.c ? o.c_stride : o.y_stride;
  MatmulLayouts l(*lt_);
  if (s.has_bias) {
    const cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_BIAS;
    l.set(CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue);
    l.set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, o.bias);
    l.set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, cublas_type(s.y));
  }
  l.make(l.weight, s.weight, s.k, s.n, s.k);
  l.make(l.x, s.x, s.k, o.tokens, o.x_stride);
  l.make(l.c, s.y, s.n, o.tokens, c_stride);
  l.make(l.y, s.y, s.n, o.tokens, o.y_stride);
  const Key key{o.tokens,
                {row_alignment(o.weight, s.k, s.weight), row_alignment(o.x, o.x_stride, s.x),
                 row_alignment(c, c_stride, s.y), row_alignment(o.y, o.y_stride, s.y)}};
  const float one = 1, beta = o.c ? 1 : 0;
  TOKAMAK_CUBLASLT(lt_->matmul(lt_->handle, l.desc, &one, o.weight, l.weight, o.x, l.x, &beta, c,
                               l.c, o.y, l.y, &algorithm(l, key), o.workspace, kMatmulWorkspace,
                               stream));
}

}  // namespace tokamak
