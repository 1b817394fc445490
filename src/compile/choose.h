// From times to choices: one layout for all buckets of a group, and the best tactic with it for
// each bucket (of a deterministic engine: for all). No clock is read here.
#pragma once
#include "compile/groups.h"
#include "compile/tuner.h"

namespace tokamak {

const std::vector<int32_t>& buckets_of(const Group& group, const TuneOptions& options);

// Sets the group's choices and layouts to the best of these candidates by group.times.
void choose(Group& group, const std::vector<Candidate>& from, const TuneOptions& options);

// What all the group's steps together take with its choices.
struct StepTime {
  double us = 0;
  double doubt_us = 0;  // by which us may be off by chance
};
StepTime step_time(const Group& group, int32_t tokens, const TuneOptions& options);

// Times nearer than this factor are equal: 2 %, or the noise where that is more, 5 % at most.
double equal_factor(const BucketTimes& times);

}  // namespace tokamak
