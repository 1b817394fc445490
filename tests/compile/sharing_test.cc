// One copy of a weight or two, decided from times that are written here instead of measured.
#include "compile/sharing.h"

#include <gtest/gtest.h>

#include "api/build.h"
#include "compile/choose.h"
#include "ops/op.h"

namespace tokamak {
namespace {

int32_t add_value(Plan& plan, PlanValue value) {
  plan.values.push_back(std::move(value));
  return static_cast<int32_t>(plan.values.size()) - 1;
}

int32_t add_step(Plan& plan, Op op, Attrs attrs, std::vector<int32_t> inputs) {
  std::vector<ValueType> types;
  for (const int32_t i : inputs) types.push_back(plan.values[i].type);
  PlanStep step{op, attrs, std::string(name(op)), std::move(inputs), {}, {}};
  for (ValueType& t : infer(op, attrs, types)) step.outputs.push_back(add_value(plan, {"x", t}));
  plan.steps.push_back(step);
  return step.outputs[0];
}

// embedding → linear with another weight → gather → linear with the embedding's table.
Plan tied_plan() {
  Plan plan;
  const auto weight = [&](const std::string& name) {
    plan.weights.push_back({{name}, DType::q8_0, {512, 256}});
    return add_value(plan, {name,
                            {DType::q8_0, {512, 256}, true},
                            Storage::weight,
                            static_cast<int32_t>(plan.weights.size()) - 1});
  };
  const int32_t ids =
      add_value(plan, {"token_ids", {DType::i32, {Symbol::tokens}}, Storage::token_ids});
  const int32_t table = weight("table");
  const int32_t x = add_step(plan, Op::embedding, {}, {ids, table});
  add_step(plan, Op::linear, {}, {x, weight("up")});
  plan.logits = add_step(plan, Op::linear, {}, {add_step(plan, Op::gather_rows, {}, {x}), table});
  return plan;
}

struct Tied {
  std::unique_ptr<Backend> backend = make_backend("cpu", 2);
  Plan plan = tied_plan();
  TuneOptions options;
  std::vector<Group> groups = make_groups(plan, *backend);

  // The linear takes 100 µs with its layout; the embedding 1 µs from plain rows and `packed_us`
  // from the linear's layout; all with this noise.
  Tied(double packed_us, double noise) {
    options.token_buckets = options.row_buckets = {1, 2};
    for (Group& g : groups) {
      for (const int32_t bucket : options.token_buckets) {
        BucketTimes t{{}, noise};
        for (const Candidate& c : g.candidates) {
          const bool plain = !c.layouts.empty() && c.layouts[0] == "plain";
          const double us = g.signature.op == Op::embedding ? (plain ? 1 : packed_us)
                            : plain                         ? 900
                                                            : 100;
          t.us[std::string(c.tactic->name())] = bucket * us;
        }
        g.times.push_back(std::move(t));
      }
      choose(g, g.candidates, options);
    }
    share_weights(groups, plan, options);
  }
  bool once() const {
    std::string layout;
    for (const Group& g : groups)
      for (const PlanWeight* w : g.weights)
        if (w == &plan.weights[0]) {
          if (!layout.empty() && layout != g.layouts[0]) return false;
          layout = g.layouts[0];
        }
    return true;
  }
};

TEST(Sharing, ATableIsKeptOnceUnlessAStepGetsSlower) {
  if (Tied(1, 0).backend->properties().isa == "reference") GTEST_SKIP() << "one layout only";
  EXPECT_TRUE(Tied(1, 0).once());
  EXPECT_TRUE(Tied(3, 0).once());    // 2 of some 300 µs
  EXPECT_FALSE(Tied(40, 0).once());  // an eighth of the step
}

TEST(Sharing, NoiseOfTheTimesDoesNotStoreATableTwice) {
  if (Tied(1, 0).backend->properties().isa == "reference") GTEST_SKIP() << "one layout only";
  EXPECT_FALSE(Tied(7, 0).once());   // 2 %
  EXPECT_TRUE(Tied(7, 0.9).once());  // 2 %, where the times of the embedding mean little
  EXPECT_FALSE(Tied(40, 0.9).once());
}

}  // namespace
}  // namespace tokamak
