// cuBLASLt, found when the backend is made: only its header is needed to build, and a machine
// without it uses other tactics.
#pragma once
#include <cublasLt.h>

#include <memory>
#include <string>

namespace tokamak {

class CublasLt {
 public:
  // Null where the library or one of its functions is missing; `why` says which.
  static std::shared_ptr<const CublasLt> load(std::string* why);
  ~CublasLt();
  CublasLt(const CublasLt&) = delete;
  CublasLt& operator=(const CublasLt&) = delete;

  cublasLtHandle_t handle = nullptr;
  decltype(&cublasLtCreate) create = nullptr;
  decltype(&cublasLtDestroy) destroy = nullptr;
  decltype(&cublasLtMatmulDescCreate) desc_create = nullptr;
  decltype(&cublasLtMatmulDescDestroy) desc_destroy = nullptr;
  decltype(&cublasLtMatmulDescSetAttribute) desc_set = nullptr;
  decltype(&cublasLtMatrixLayoutCreate) layout_create = nullptr;
  decltype(&cublasLtMatrixLayoutDestroy) layout_destroy = nullptr;
  decltype(&cublasLtMatrixLayoutSetAttribute) layout_set = nullptr;
  decltype(&cublasLtMatmulPreferenceCreate) preference_create = nullptr;
  decltype(&cublasLtMatmulPreferenceDestroy) preference_destroy = nullptr;
  decltype(&cublasLtMatmulPreferenceSetAttribute) preference_set = nullptr;
  decltype(&cublasLtMatmulAlgoGetHeuristic) heuristic = nullptr;
  decltype(&cublasLtMatmul) matmul = nullptr;
  decltype(&cublasLtGetVersion) version = nullptr;

 private:
  CublasLt() = default;
};

// Error that names the call and the status.
void cublaslt_check(cublasStatus_t status, const char* call);
#define TOKAMAK_CUBLASLT(call) ::tokamak::cublaslt_check((call), #call)

}  // namespace tokamak
