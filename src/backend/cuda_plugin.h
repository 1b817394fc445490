// The CUDA backend lives in a library of its own, found and loaded when it is asked for: a program
// without it neither links nor needs CUDA.
#pragma once
#include <memory>

#include "backend/backend.h"

namespace tokamak {

struct CudaOptions {
  int device = 0;
  // No GPU at hand: the backend lists its tactics and layouts for compute capability `sm` and packs
  // weights, but runs nothing. For builds of engines that another machine will open.
  bool offline = false;
  int sm = 90;
};

// libtokamak_cuda.so beside the program, in ../lib, or where TOKAMAK_CUDA_PLUGIN says. Error: which
// of library, driver, device or version is missing, and where it was looked for.
std::unique_ptr<Backend> load_cuda_backend(const CudaOptions& options = {});

// What both sides must agree on: they exchange C++ objects.
inline constexpr const char* kCudaPluginEntry = "tokamak_cuda_backend_1";
using CudaPluginEntry = Backend* (*)(const CudaOptions& options);

}  // namespace tokamak
