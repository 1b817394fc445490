// The graph after its passes becomes a plan: slices and reshapes turn into views, every other node
// into a step. Tactics, layouts and offsets are still open (compile/tuner.h, engine/memory_plan.h).
#pragma once
#include "engine/plan.h"
#include "graph/graph.h"

namespace tokamak {

struct LowerOptions {
  DType kv_dtype = DType::f16;
  // A network: inputs of any name and type, every output kept, no "logits" and no KV cache.
  bool network = false;
};

// Of a language model the output "logits" is required and "hidden" is known; every other output is
// kept as a debug output.
Plan lower(const Graph& graph, const LowerOptions& options);

}  // namespace tokamak
