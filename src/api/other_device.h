// Engines that were built for another device than the one they are opened on.
#pragma once
#include <filesystem>

#include "compile/tuner.h"
#include "engine/engine_config.h"
#include "engine/engine_file.h"
#include "runtime/weight_store.h"

namespace tokamak {

// Layouts of the devices that `here` is not: a CPU's for a GPU and the other way round. They are
// looked up when an engine asks for one.
LayoutLookup other_layouts(const Backend& here);

// Whether what was timed for the engine says nothing about this device: a GPU of another kind than
// the engine was built for.
bool needs_tuning(const EngineConfig& engine, const Backend& here);

// Times the engine's steps here and writes what was found into its plan, with one notice. The times
// are kept in the timing cache.
void tune_again(EngineFile& engine, const EngineConfig& config, Backend& here,
                const LayoutLookup& layouts, const std::filesystem::path& timing_cache);

}  // namespace tokamak
