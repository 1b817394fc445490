// One rank's graph → its engine file: passes, lowering, tuning, memory plan, packing.
#pragma once
#include <filesystem>
#include <map>
#include <string>

#include "compile/tuner.h"
#include "engine/engine_config.h"
#include "engine/memory_plan.h"
#include "graph/graph.h"

namespace tokamak {

struct CompileOptions {
  BuildLimits limits;
  DType kv_dtype = DType::f16;
  bool tune = true;
  std::string activation_bits = "auto";             // engine/numerics.h
  std::map<std::string, double> activation_scales;  // QuantizationConfig's
  bool deterministic = false;
  uint64_t random_weights = 0;  // engine/plan.h: no weights are written
  std::string debug_tensors;    // glob over value names of the graph before its passes; empty: none
};

struct CompileReport {
  TuneReport tuning;
  MemoryNeed memory;
  int steps = 0;
};

CompileReport compile_engine(Graph graph, WeightSource& source, Backend& backend,
                             TimingCache& cache, const CompileOptions& options,
                             const std::filesystem::path& engine_file);

// What a plan needs for the limits on this backend.
MemoryNeed memory_need(const Plan& plan, const Backend& backend, const BuildLimits& limits);

}  // namespace tokamak
