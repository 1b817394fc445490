#include "backend/cuda/cublaslt/layouts.h"

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

std::vector<cublasLtMatmulAlgo_t> propose(const MatmulLayouts& l, const Alignments& of, int most,
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
  std::vector<cublasLtMatmulHeuristicResult_t> found(static_cast<size_t>(most));
  int count = 0;
  *status = lt.heuristic(lt.handle, l.desc, l.weight, l.x, l.c, l.y, preference, most, found.data(),
                         &count);
  lt.preference_destroy(preference);
  std::vector<cublasLtMatmulAlgo_t> algorithms;
  if (*status != CUBLAS_STATUS_SUCCESS) return algorithms;
  for (int i = 0; i < count; ++i) algorithms.push_back(found[static_cast<size_t>(i)].algo);
  return algorithms;
}

}  // namespace tokamak
