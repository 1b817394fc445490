// One signature on one step, filled one way: the double reference once, then any tactic of any
// backend against it.
#pragma once
#include <set>

#include "launcher.h"
#include "op_table.h"

namespace tokamak::test {

class Trial {
 public:
  Trial(const OpRow& row, const OpSignature& s, const StepShape& shape, Fill fill, uint64_t seed);
  // False after a failure, which names everything that repeats it.
  bool check(Backend& backend, const Tactic& tactic, bool strided);

 private:
  void set_ints(size_t input, const std::vector<int32_t>& v);
  void set_step_inputs();

  const OpSignature& s_;
  const Fill fill_;
  const uint64_t seed_;
  Rng rng_;
  TestStep step_;
  std::vector<HostTensor> inputs_, want_;
  HostKv want_cache_;
};

// Every signature of the row on every step shape with every fill. Prints the seed, and at the end
// what `check` put into the set of tactics that ran, which must not stay empty.
using CheckTrial = void (*)(Trial& trial, const OpSignature& s, Fill fill,
                            std::set<std::string>& failed, std::set<std::string>& ran);
void check_row(const OpRow& row, CheckTrial check);

// TOKAMAK_TEST_QUICK, which is set under sanitizers: every eighth signature.
bool quick();

// TOKAMAK_TEST_PART=PART/PARTS: each PARTS-th signature, from PART on, for processes that share a
// table. Divided once more by eight when quick.
struct TestPart {
  size_t index = 0, count = 1;
};
TestPart test_part();

}  // namespace tokamak::test
