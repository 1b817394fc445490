// Users' ops from plug-in libraries: in networks, in a model, and what is refused.
#include <gmock/gmock.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <random>

#include "api/build.h"
#include "base/error_of.h"
#include "base/json.h"
#include "engine/engine_file.h"
#include "ops/plugin.h"
#include "runtime/tiny_model.h"
#include "tokamak/llm.h"
#include "tokamak/network.h"

namespace tokamak::network {
namespace {

using test::error_of;
using ::testing::AllOf;
using ::testing::HasSubstr;

const std::string kGates = TOKAMAK_PLUGINS "/libgates.so";
std::string test_plugin(const std::string& kind) {
  return TOKAMAK_PLUGINS "/libtest_plugin_" + kind + ".so";
}

Array random_array(int64_t rows, int64_t width, unsigned seed) {
  std::mt19937 rng(seed);
  std::normal_distribution<float> normal;
  Array a{{rows, width}, {}};
  for (int64_t i = 0; i < rows * width; ++i) a.data.push_back(normal(rng));
  return a;
}

TEST(Plugin, AnOpRunsInANetworkAmongOthers) {
  for (const int workers : {1, 3}) {
    Network net;
    const Tensor a = net.input("a", {tokens, 24}), b = net.input("b", {tokens, 24});
    const auto gate = net.plugin(kGates, "relu2_gate", {a * 2.0, b}, {{"scale", "0.5"}});
    ASSERT_EQ(gate.size(), 1u);
    EXPECT_EQ(gate[0].shape(), (std::vector<int64_t>{tokens, 24}));
    net.mark_output(exp(gate[0]) + 1.0, "y");
    Compiled c = net.compile({}, {.workers = workers});
    EXPECT_THAT(c.graph_text(), AllOf(HasSubstr("plugin[a.scale=0.5"), HasSubstr("library=gates")));
    for (const int64_t rows : {1, 7}) {
      const Arrays in = {{"a", random_array(rows, 24, 1)}, {"b", random_array(rows, 24, 2)}};
      const Array y = c.run(in).at("y");
      for (size_t i = 0; i < y.data.size(); ++i) {
        const double x = std::max(2.0 * in.at("a").data[i], 0.0);
        const double want = std::exp(0.5 * x * x * in.at("b").data[i]) + 1;
        ASSERT_NEAR(y.data[i], want, 1e-5 * want) << "at " << i;
      }
    }
  }
}

TEST(Plugin, TheSecondLayoutIsUsedAndUnpacksExactly) {
  Network net;
  const Tensor x = net.input("x", {tokens, 12}), w = net.weight("w", {5, 12});
  const auto out = net.plugin(test_plugin("good"), "columns_linear", {x, w});
  ASSERT_EQ(out.size(), 2u);
  net.mark_output(out[0], "y");
  net.mark_output(out[1], "packed");
  const Array weight = random_array(5, 12, 3), in = random_array(4, 12, 4);
  const Arrays got = net.compile({{"w", weight}}, {.workers = 2}).run({{"x", in}});
  EXPECT_EQ(got.at("packed").data, std::vector<float>(4, 1.0f));
  for (int64_t r = 0; r < 4; ++r)
    for (int64_t n = 0; n < 5; ++n) {
      double sum = 0;
      for (int64_t k = 0; k < 12; ++k) sum += double{in.data[r * 12 + k]} * weight.data[n * 12 + k];
      EXPECT_NEAR(got.at("y").data[r * 5 + n], sum, 1e-5);
    }

  const auto backend = make_backend("cpu", 1, {}, load_plugins({test_plugin("good")}));
  const WeightLayout* layout = backend->layout("plugin.test.columns_linear.columns");
  ASSERT_NE(layout, nullptr);
  const Shape shape{5, 12};
  ASSERT_TRUE(layout->supports(DType::f32, shape));
  EXPECT_FALSE(layout->supports(DType::bf16, shape));
  const auto* bytes = reinterpret_cast<const std::byte*>(weight.data.data());
  std::vector<std::byte> packed(layout->packed_bytes(DType::f32, shape));
  std::vector<float> back(60);
  layout->pack({DType::f32, shape, bytes}, packed.data(), 0, 3);
  layout->pack({DType::f32, shape, bytes}, packed.data(), 3, 5);
  layout->unpack(DType::f32, shape, packed.data(), reinterpret_cast<std::byte*>(back.data()));
  EXPECT_EQ(back, weight.data);
}

TEST(Plugin, ErrorsNameTheLibraryAndWhatIsMissing) {
  const auto load = [](const std::string& path) {
    return error_of([&] { PluginLibrary::load(path); });
  };
  EXPECT_THAT(load("/nowhere/libx.so"),
              AllOf(HasSubstr("'/nowhere/libx.so'"), HasSubstr("No such file")));
  EXPECT_THAT(load(test_plugin("wrong_abi")),
              AllOf(HasSubstr("libtest_plugin_wrong_abi.so"), HasSubstr("version 99"),
                    HasSubstr("this program has 1")));
  EXPECT_THAT(load(test_plugin("no_entry")),
              HasSubstr("is no plug-in: it has no function tokamak_plugin_entry"));
  EXPECT_THAT(load(test_plugin("no_run")),
              HasSubstr("op 'columns_linear' lacks both run_cpu and run_cuda"));

  Network net;
  const Tensor a = net.input("a", {tokens, 8}), b = net.input("b", {tokens, 4});
  EXPECT_THAT(
      error_of([&] {
        net.plugin(kGates, "relu3_gate", {a, a});
      }),
      AllOf(HasSubstr("no plug-in has an op 'relu3_gate'"), HasSubstr("relu2_gate (of gates)")));
  EXPECT_THAT(error_of([&] {
                net.plugin(kGates, "relu2_gate", {a, b});
              }),
              AllOf(HasSubstr("gates.relu2_gate"), HasSubstr("two floats of equal shape")));
  EXPECT_THAT(error_of([&] {
                net.plugin(kGates, "relu2_gate", {a, a}, {{"scale", "big"}});
              }),
              HasSubstr("scale is 'big', expected a number"));
  EXPECT_THAT(error_of([&] {
                net.plugin(kGates, "relu2_gate", {a, a}, {{"size", "1"}});
              }),
              HasSubstr("attribute 'size' is unknown; known: scale"));
}

// As the gate of a model's MLPs: built, run, and refused where the library is not given.
TEST(Plugin, AModelsGateAndWhatItsEngineNeeds) {
  const testing::TempDir folder;
  std::string config = read_text(testing::write_tiny_config(folder.path()));
  const size_t at = config.find("\"silu\"");
  ASSERT_NE(at, std::string::npos);
  config.replace(at, 6, "\"plugin:relu2_gate\"");
  const auto path = folder.path() / "gated.json";
  std::ofstream(path) << config;

  BuildOptions build;
  build.output_dir = folder.path() / "engine";
  build.quiet = true;
  build.tuning = false;
  build.max_num_tokens = 32;
  const auto plain = make_backend("cpu", 1);
  EXPECT_THAT(error_of([&] { build_random(path, DType::f32, build, *plain); }),
              HasSubstr("no plug-in has an op 'relu2_gate'"));
  build.plugins = {kGates};
  const auto backend = make_backend("cpu", 1, {}, load_plugins(build.plugins));
  build_random(path, DType::f32, build, *backend);
  const Plan plan = EngineFile::open(build.output_dir / "rank0.engine").plan();
  EXPECT_EQ(std::count_if(plan.steps.begin(), plan.steps.end(),
                          [](const PlanStep& s) { return s.op == Op::plugin; }),
            3);

  LLMOptions options{.workers = 1, .plugins = {kGates}};
  LLM llm(build.output_dir, options);
  const Request request{.tokens = {1, 2, 3}, .params = {.temperature = 0, .max_tokens = 4}};
  EXPECT_EQ(llm.generate(std::span(&request, 1))[0].tokens.size(), 4u);
  options.plugins.clear();
  EXPECT_THAT(error_of([&] { LLM(build.output_dir, options); }),
              AllOf(HasSubstr("needs the op 'relu2_gate' of the plug-in 'gates' (version 1.0"),
                    HasSubstr("give --plugin PATH.so")));
}

}  // namespace
}  // namespace tokamak::network
