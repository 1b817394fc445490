// bench --mode manager: all requests are queued at once and share the model in flight.
#pragma once
#include <cstdint>

#include "tokamak/executor.h"
#include "tokamak/llm.h"

namespace tokamak::cli {

struct ManagerCase {
  int64_t requests = 0, input = 0, output = 0;  // tokens of each
  int64_t shared_prefix = 0;                    // of the input, the same for all
  ExecutorOptions executor;
};

struct ManagerResult {
  double total_s = 0;  // from the first request queued to the last token
  double ttft_ms = 0, tpot_ms = 0, latency_ms = 0;  // means over requests, from its own queueing
  double ttft_p99_ms = 0;
  double step_share = 0;  // of the time with work to do, inside the model
  int64_t steps = 0, tokens = 0, preemptions = 0;
  int64_t reused_tokens = 0;
  double kv_shared = 0, kv_waste = 0;  // as ExecutorStats
  uint64_t tokens_hash = 0;            // of all outputs, in the order of the requests
};

// Random prompts, greedy, no early end.
ManagerResult run_manager(LLM& llm, const ManagerCase& c);

}  // namespace tokamak::cli
