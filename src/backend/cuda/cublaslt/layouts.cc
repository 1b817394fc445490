#include "backend/cuda/cublaslt/layouts.h"

#include <algorithm>

#include "base/error.h"

namespace tokamak {

cudaDataType_t cublas_type(DType t) {
  return t == DType::f16      ? CUDA_R_16F
         : t == DType::bf16   ? CUDA_R_16BF
         : t == DType::f8e4m3 ? CUDA_R_8F_E4M3
                              : CUDA_R_32F;
}

uint32_t row_alignment(const void* p, int64_t stride, DType t) {
  const uint64_t all = reinterpret_cast<uintptr_t>(p) | 256 |
                       static_cast<uint64_t>(stride) * static_cast<uint64_t>(info(t).block_bytes);
  return static_cast<uint32_t>(all & -all);
}

MatmulLayouts::MatmulLayouts(const CublasLt& library) : lt(library) {
  TOKAMAK_CUBLASLT(lt.desc_create(&desc, CUBLAS_COMPUTE_32F, CUDA_R_32F));
  const cublasOperation_t transposed = CUBLAS_OP_T;
  set(CUBLASLT_MATMUL_DESC_TRANSA, transposed);
}

MatmulLayouts::~MatmulLayouts() {
  for (cublasLtMatrixLayout_t l : {weight, x, c, y})
    if (l != nullptr) lt.layout_destroy(l);
  if (desc != nullptr) lt.desc_destroy(desc);
}

void MatmulLayouts::make(cublasLtMatrixLayout_t& layout, DType t, int64_t rows, int64_t columns,
                         int64_t stride) const {
  TOKAMAK_CUBLASLT(lt.layout_create(&layout, cublas_type(t), static_cast<uint64_t>(rows),
                                    static_cast<uint64_t>(columns), stride));
}

void MatmulLayouts::repeat(cublasLtMatrixLayout_t layout, int32_t count, int64_t apart) const {
  const auto put = [&](cublasLtMatrixLayoutAttribute_t attribute, auto value) {
    TOKAMAK_CUBLASLT(lt.layout_set(layout, attribute, &value, sizeof(value)));
  };
  put(CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, count);
  put(CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, apart);
}

namespace {

constexpr int kProposals = 8;

std::vector<cublasLtMatmulAlgo_t> propose(const MatmulLayouts& l, const Alignments& of,
                                          cublasStatus_t* status) {
  const CublasLt& lt = l.lt;
  cublasLtMatmulPreference_t preference = nullptr;
  TOKAMAK_CUBLASLT(lt.preference_create(&preference));
  const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t attribute, auto value) {
    TOKAMAK_CUBLASLT(lt.preference_set(preference, attribute, &value, sizeof(value)));
  };
  prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, kMatmulWorkspace);
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, of.weight);
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, of.x);
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, of.c);
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, of.y);
  cublasLtMatmulHeuristicResult_t found[kProposals];
  int count = 0;
  *status = lt.heuristic(lt.handle, l.desc, l.weight, l.x, l.c, l.y, preference, kProposals, found,
                         &count);
  lt.preference_destroy(preference);
  std::vector<cublasLtMatmulAlgo_t> algorithms;
  if (*status != CUBLAS_STATUS_SUCCESS) return algorithms;
  for (int i = 0; i < count; ++i)
    if (found[i].state == CUBLAS_STATUS_SUCCESS) algorithms.push_back(found[i].algo);
  return algorithms;
}

}  // namespace

cublasStatus_t Algorithms::multiply(const MatmulLayouts& l, const MatmulCall& m,
                                    const cublasLtMatmulAlgo_t& algorithm,
                                    cudaStream_t stream) const {
  const float beta = m.c ? 1 : 0;
  return l.lt.matmul(l.lt.handle, l.desc, &m.alpha, m.weight, l.weight, m.x, l.x, &beta,
                     m.c ? m.c : m.y, l.c, m.y, l.y, &algorithm, m.workspace, kMatmulWorkspace,
                     stream);
}

void Algorithms::find(const MatmulLayouts& timed, const MatmulLayouts& l, const MatmulCall& m,
                      const std::string& what, cudaStream_t stream) {
  const std::lock_guard lock(mutex_);
  cublasStatus_t status;
  const auto found = propose(timed, m.aligned, &status);
  const size_t first = std::min(static_cast<size_t>(choice_), found.size() - !found.empty());
  for (size_t i = 0; i < found.size(); ++i) {
    const auto& algorithm = found[(first + i) % found.size()];
    status = multiply(l, m, algorithm, stream);
    if (status != CUBLAS_STATUS_SUCCESS) continue;
    known_.emplace(Key{m.tokens, m.c_stride, m.y_stride, m.aligned}, algorithm);
    return;
  }
  fail("cuBLASLt has no algorithm for {}: {} tokens, {} proposed (status {})", what, m.tokens,
       found.size(), static_cast<int>(status));
}

}  // namespace tokamak
