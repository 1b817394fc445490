// Users' ops on CUDA devices.
#pragma once
#include "backend/cuda/cuda_tactic.h"
#include "backend/plugin_tactic.h"

namespace tokamak {

void add_plugin(CudaRegistry& r, const std::shared_ptr<const PluginLibrary>& library);

}  // namespace tokamak
