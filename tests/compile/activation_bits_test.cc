// What --activation_bits auto gives to which linear.
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "compile/activation_scales.h"
#include "engine/engine_file.h"
#include "engine/numerics.h"
#include "ops/linear.h"
#include "runtime/tiny_model.h"

namespace tokamak {
namespace {

TEST(ActivationBits, AutoIsAFunctionOfKindAndFormat) {
  const std::set<DType> per_32 = {DType::q4_0, DType::q4_1, DType::q5_0,     DType::q5_1,
                                  DType::q8_0, DType::q2_k, DType::q3_k,     DType::q4_k,
                                  DType::q5_k, DType::q6_k, DType::int8a_g32};
  for (const LinearKind kind : {LinearKind::qkv, LinearKind::attention_out, LinearKind::gate_up,
                                LinearKind::down, LinearKind::lm_head, LinearKind::other})
    for (int t = 0; t < kDTypeCount; ++t) {
      const auto weights = static_cast<DType>(t);
      const bool expected = weights == DType::f8_row
                                ? kind != LinearKind::lm_head
                                : kind == LinearKind::attention_out && per_32.contains(weights);
      EXPECT_EQ(eight_bits_by_default(kind, weights), expected)
          << name(kind) << " " << name(weights);
    }
}

TEST(ActivationBits, AutoReachesTheSteps) {
  const auto backend = make_backend("cpu", 1);
  const testing::TempDir folder;
  for (const DType weights : {DType::f32, DType::q8_0}) {
    BuildOptions o;
    o.tuning = false;
    const auto engine =
        testing::build_tiny(folder.path(), *backend, o, weights, std::string(name(weights)));
    const Plan plan = EngineFile::open(engine / "rank0.engine").plan();
    int attention_out = 0;
    for (const PlanStep& s : plan.steps) {
      if (s.op != Op::linear && s.op != Op::linear_glu) continue;
      const bool out = linear_kind(plan, s) == LinearKind::attention_out;
      attention_out += out;
      EXPECT_EQ(activation_bits(s), out && weights == DType::q8_0 ? 8 : 16) << s.name;
    }
    EXPECT_EQ(attention_out, 3);
  }
}

// The largest of a linear's modules; none where activations keep 16 bits.
TEST(ActivationScales, ReachFp8Linears) {
  const auto backend = make_backend("cpu", 1);
  const testing::TempDir folder;
  BuildOptions o;
  o.tuning = false;
  const auto engine = testing::build_tiny(folder.path(), *backend, o, DType::f8_row);
  Plan plan = EngineFile::open(engine / "rank0.engine").plan();
  const std::string layer = "transformer.layers.1.";
  set_activation_scales(plan, {{layer + "attention.qkv", 0.5},
                               {layer + "mlp.fc", 0.25},
                               {layer + "mlp.gate", 0.75},
                               {"lm_head", 2.0}});
  std::map<LinearKind, double> found;
  for (const PlanStep& s : plan.steps) {
    if (s.op != Op::linear && s.op != Op::linear_glu) continue;
    const double scale = LinearAttrs::from(s.attrs).x_scale;
    EXPECT_TRUE(scale == 0 || s.name.starts_with(layer)) << s.name;
    if (scale > 0) found[linear_kind(plan, s)] = scale;
  }
  EXPECT_EQ(found,
            (std::map<LinearKind, double>{{LinearKind::qkv, 0.5}, {LinearKind::gate_up, 0.75}}));
}

}  // namespace
}  // namespace tokamak
