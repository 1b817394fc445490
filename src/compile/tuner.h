// Chooses a weight layout for every weight and a tactic for every step and token bucket: by timing
// (what the cache knows is not timed again), or by the tactics' own estimates.
#pragma once
#include <string>
#include <vector>

#include "backend/backend.h"
#include "compile/tactic_timer.h"
#include "compile/timing_cache.h"
#include "engine/plan.h"

namespace tokamak {

struct TuneOptions {
  bool time = true;                    // false: estimates only
  std::vector<int32_t> token_buckets;  // ascending
  std::vector<int32_t> row_buckets;    // for steps over the rows of logits
  bool deterministic = false;          // one tactic per step for all buckets
  TimerOptions timer;
};

// 1, 2, 4 … up to the first power of two that holds `most`.
std::vector<int32_t> power_buckets(int64_t most);

struct TuneReport {
  int signatures = 0, timed = 0, cached = 0;  // the last two in (signature, bucket) pairs
  int timed_tactics = 0;                      // over all pairs that were timed
  int second_looks = 0;                       // pairs that were measured twice
  double seconds = 0;
};

// Fills the plan's choices and layouts; a weight that is wanted in two layouts is stored twice.
// Error when an op has no tactic for its signature.
TuneReport choose_tactics(Plan& plan, Backend& backend, WeightSource& source, TimingCache& cache,
                          const TuneOptions& options);

// What the timing cache knows a machine by: its times hold for nothing else.
std::string timing_device(const Backend& backend);

}  // namespace tokamak
