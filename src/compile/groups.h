// Steps with equal signatures are tuned together: their candidates, their times and their choice.
#pragma once
#include <string>
#include <vector>

#include "backend/backend.h"
#include "compile/timing_cache.h"
#include "engine/plan.h"

namespace tokamak {

using Layouts = std::vector<std::string>;  // of a signature's matrix weights, in order

struct Candidate {
  const Tactic* tactic;
  Layouts layouts;
};

// Attention's layer number does not matter.
struct Group {
  OpSignature signature;
  std::string key;  // in the timing cache
  std::vector<size_t> steps;
  std::vector<const PlanWeight*> weights;
  bool rows = false;                  // is_row_step
  std::vector<Candidate> candidates;  // all that the machine can run; never empty
  std::vector<BucketTimes> times;     // per bucket: measured, or estimates
  std::vector<TacticChoice> choices;
  Layouts layouts;
};

// In the order of their first steps, with their candidates. Error when an op has no tactic for its
// signature.
std::vector<Group> make_groups(const Plan& plan, const Backend& backend);

// Those worth timing for this bucket by their estimates, best estimate first.
std::vector<const Tactic*> prune(const Group& group, int32_t bucket);

}  // namespace tokamak
