// Every tactic that the backend lists, on every ISA level that this machine runs, against the
// table.
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "backend/cpu/attention/attention_tactic.h"
#include "backend/cpu/cpu_backend.h"
#include "backend/cpu/cpu_tactic.h"
#include "backend/cpu/element.h"
#include "backend/cpu/linear/amx_int8_linear.h"
#include "backend/cpu/linear/amx_tactic.h"
#include "ops/attention.h"
#include "trial.h"

namespace tokamak::test {
namespace {

constexpr int kWorkerCounts[] = {1, 2, 3, 8};

// Backends by level and number of workers, made once.
Backend& backend_of(Isa isa, int workers) {
  static std::map<std::pair<Isa, int>, std::unique_ptr<Backend>> made;
  auto& b = made[{isa, workers}];
  if (!b) b = make_cpu_backend({workers, std::string(name(isa)), true, 0});
  return *b;
}

// Each tactic on its own level with two workers and on the best level with every worker count.
// With odd values one count is enough: how work divides does not depend on them.
void check_tactics(Trial& trial, const OpSignature& s, Fill fill, std::set<std::string>& failed,
                   std::set<std::string>& ran) {
  const Isa best = isa_report().best();
  for (const Tactic* t : backend_of(best, 1).tactics(s.op)) {
    if (!t->supports(s) || failed.count(std::string(t->name()))) continue;
    ran.insert(std::string(t->name()));
    bool good = true;
    for (const int workers : kWorkerCounts) {
      if (fill != Fill::gaussian && workers != 3) continue;
      if (quick() && workers != 1 && workers != 3) continue;
      Backend& backend = backend_of(best, workers);
      const Tactic* tactic = find_tactic(backend, s.op, t->name());
      good = good && trial.check(backend, *tactic, workers % 2 == 1);
    }
    const auto* cpu = dynamic_cast<const CpuTactic*>(t);
    if (good && cpu != nullptr && cpu->level() != best && fill == Fill::gaussian) {
      Backend& backend = backend_of(cpu->level(), 2);
      const Tactic* tactic = find_tactic(backend, s.op, t->name());
      EXPECT_TRUE(tactic != nullptr && tactic->supports(s)) << t->name() << " at its own level";
      if (tactic != nullptr) good = trial.check(backend, *tactic, true);
    }
    if (!good) failed.insert(std::string(t->name()));  // one report per tactic is enough
  }
}

// The AMX kernels over emulated tiles, where the machine has what the emulation is made of.
void check_emulated(Trial& trial, const OpSignature& s, Fill fill, std::set<std::string>& failed,
                    std::set<std::string>& ran) {
  constexpr Isa kLevel = Isa::avx512_vnni;
  const bool attention = s.op == Op::attention;
  if ((s.op != Op::linear && s.op != Op::linear_glu && !attention) || !isa_report().has(kLevel))
    return;
  for (const int workers : kWorkerCounts) {
    if ((fill != Fill::gaussian && workers != 3) || (quick() && workers != 1)) continue;
    CpuTarget target;
    target.isa = kLevel;
    target.workers = workers;
    std::vector<std::unique_ptr<Tactic>> tactics;
    if (attention) {
      tactics.push_back(emulated_amx_attention(target));
    } else {
      tactics.push_back(
          make_amx_linear("emulated.bf16.amx", s.op, kLevel, target, emulated_amx_linear_kernels));
      tactics.push_back(make_amx_int8_linear("emulated.int8.amx", s.op, kLevel, target,
                                             emulated_amx_int8_linear_kernels));
    }
    for (const std::unique_ptr<Tactic>& tactic : tactics) {
      if (!tactic->supports(s) || failed.count(std::string(tactic->name()))) continue;
      ran.insert(std::string(tactic->name()));
      if (!trial.check(backend_of(isa_report().best(), workers), *tactic, workers % 2 == 1))
        failed.insert(std::string(tactic->name()));
    }
  }
}

class OpTable : public testing::TestWithParam<OpRow> {};

TEST_P(OpTable, EveryTacticMatchesTheReference) {
  check_row(GetParam(), [](Trial& trial, const OpSignature& s, Fill fill,
                           std::set<std::string>& failed, std::set<std::string>& ran) {
    check_tactics(trial, s, fill, failed, ran);
    check_emulated(trial, s, fill, failed, ran);
  });
}

// Every op has a tactic that is always there, but for views and what other parts provide.
TEST(OpTable, CoversEveryOp) {
  std::set<Op> rows;
  for (const OpRow& row : op_table()) rows.insert(row.op);
  for (int i = 0; i < kOpCount; ++i) {
    const Op op = static_cast<Op>(i);
    const bool elsewhere = op == Op::slice || op == Op::all_reduce || op == Op::all_gather ||
                           op == Op::send || op == Op::recv || op == Op::plugin;
    EXPECT_EQ(rows.count(op) == 1, !elsewhere) << name(op);
    EXPECT_EQ(backend_of(Isa::reference, 1).tactics(op).empty(), elsewhere) << name(op);
  }
}

INSTANTIATE_TEST_SUITE_P(All, OpTable, testing::ValuesIn(op_table()),
                         [](const auto& i) { return std::string(name(i.param.op)); });

}  // namespace
}  // namespace tokamak::test
