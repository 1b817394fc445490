#include "backend/cuda/cublaslt/library.h"

#include <dlfcn.h>

#include "base/error.h"

namespace tokamak {

std::shared_ptr<const CublasLt> CublasLt::load(std::string* why) {
  const std::string name = "libcublasLt.so." + std::to_string(CUBLAS_VER_MAJOR);
  void* library = ::dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);  // stays: its code is in use
  if (library == nullptr) {
    *why = ::dlerror();
    return nullptr;
  }
  std::shared_ptr<CublasLt> lt(new CublasLt);
  bool complete = true;
  const auto find = [&](auto& function, const char* symbol) {
    function =
        reinterpret_cast<std::remove_reference_t<decltype(function)>>(::dlsym(library, symbol));
    if (function != nullptr) return;
    complete = false;
    *why = name + " has no " + symbol;
  };
  find(lt->create, "cublasLtCreate");
  find(lt->destroy, "cublasLtDestroy");
  find(lt->desc_create, "cublasLtMatmulDescCreate");
  find(lt->desc_destroy, "cublasLtMatmulDescDestroy");
  find(lt->desc_set, "cublasLtMatmulDescSetAttribute");
  find(lt->layout_create, "cublasLtMatrixLayoutCreate");
  find(lt->layout_destroy, "cublasLtMatrixLayoutDestroy");
  find(lt->layout_set, "cublasLtMatrixLayoutSetAttribute");
  find(lt->preference_create, "cublasLtMatmulPreferenceCreate");
  find(lt->preference_destroy, "cublasLtMatmulPreferenceDestroy");
  find(lt->preference_set, "cublasLtMatmulPreferenceSetAttribute");
  find(lt->heuristic, "cublasLtMatmulAlgoGetHeuristic");
  find(lt->matmul, "cublasLtMatmul");
  find(lt->version, "cublasLtGetVersion");
  if (!complete) return nullptr;
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
