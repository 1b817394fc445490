#include "backend/cuda/cublaslt/library.h"

#include "base/error.h"
#include "base/shared_library.h"

namespace tokamak {

std::shared_ptr<const CublasLt> CublasLt::load(std::string* why) {
  const std::string name = "libcublasLt.so." + std::to_string(CUBLAS_VER_MAJOR);
  std::optional<SharedLibrary> library = SharedLibrary::open(name, why);
  if (!library) return nullptr;
  std::shared_ptr<CublasLt> lt(new CublasLt);
  library->bind(lt->create, "cublasLtCreate");
  library->bind(lt->destroy, "cublasLtDestroy");
  library->bind(lt->desc_create, "cublasLtMatmulDescCreate");
  library->bind(lt->desc_destroy, "cublasLtMatmulDescDestroy");
  library->bind(lt->desc_set, "cublasLtMatmulDescSetAttribute");
  library->bind(lt->layout_create, "cublasLtMatrixLayoutCreate");
  library->bind(lt->layout_destroy, "cublasLtMatrixLayoutDestroy");
  library->bind(lt->layout_set, "cublasLtMatrixLayoutSetAttribute");
  library->bind(lt->preference_create, "cublasLtMatmulPreferenceCreate");
  library->bind(lt->preference_destroy, "cublasLtMatmulPreferenceDestroy");
  library->bind(lt->preference_set, "cublasLtMatmulPreferenceSetAttribute");
  library->bind(lt->heuristic, "cublasLtMatmulAlgoGetHeuristic");
  library->bind(lt->matmul, "cublasLtMatmul");
  library->bind(lt->version, "cublasLtGetVersion");
  if (!library->complete(why)) return nullptr;
  const cublasStatus_t status = lt->create(&lt->handle);
  if (status == CUBLAS_STATUS_SUCCESS) return lt;
  *why = "cublasLtCreate failed with status " + std::to_string(status);
  return nullptr;
}

CublasLt::~CublasLt() {
  if (handle != nullptr) destroy(handle);
}

void cublaslt_check(cublasStatus_t status, const char* call) {
  if (status != CUBLAS_STATUS_SUCCESS)
    fail("{} failed with cuBLAS status {}", call, static_cast<int>(status));
}

}  // namespace tokamak
