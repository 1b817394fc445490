// One copy of a weight that several groups use, where that makes no step slower.
#pragma once
#include "compile/groups.h"
#include "compile/tuner.h"

namespace tokamak {

// A weight that two groups want in two layouts is kept in one of them where no step of any size
// becomes slower by more than 1 %, or than the noise of the times that say so (3 % at most).
void share_weights(std::vector<Group>& groups, const Plan& plan, const TuneOptions& options);

}  // namespace tokamak
