// Users' ops on the CPU.
#pragma once
#include "backend/cpu/cpu_tactic.h"
#include "backend/plugin_tactic.h"

namespace tokamak {

void add_plugin(CpuRegistry& r, const std::shared_ptr<const PluginLibrary>& library);

}  // namespace tokamak
