// Norms and activations written out of elementary ops: every spelling is found, near misses are
// not.
#include <cmath>
#include <numbers>

#include "graph/net.h"

namespace tokamak {
namespace {

using nn::Tensor;
using test::Net;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::Not;

struct Spelling {
  const char* name;
  Tensor (*make)(Tensor x, Tensor w);
};

Tensor mean_square(Tensor x) { return mean(pow(x, 2)); }

const Spelling kRmsNorms[] = {
    {"x*rsqrt(mean(pow))*w",
     [](Tensor x, Tensor w) { return x * rsqrt(mean_square(x) + 1e-6) * w; }},
    {"w*(x*rsqrt)", [](Tensor x, Tensor w) { return w * (x * rsqrt(1e-6 + mean(x * x))); }},
    {"(rsqrt*w)*x", [](Tensor x, Tensor w) { return rsqrt(mean(x * x) + 1e-6) * w * x; }},
    {"rsqrt*(w*x)", [](Tensor x, Tensor w) { return rsqrt(mean_square(x) + 1e-6) * (w * x); }},
    {"x/sqrt*w",
     [](Tensor x, Tensor w) { return w * (x / sqrt(mean(unary("square", x)) + 1e-6)); }},
    {"(x*w)/sqrt", [](Tensor x, Tensor w) { return (x * w) / sqrt(mean_square(x) + 1e-6); }},
    {"1/sqrt", [](Tensor x, Tensor w) { return x * (1.0 / sqrt(mean_square(x) + 1e-6)) * w; }},
    {"pow -0.5", [](Tensor x, Tensor w) { return x * pow(mean_square(x) + 1e-6, -0.5) * w; }},
    {"pow 0.5", [](Tensor x, Tensor w) { return x / pow(mean_square(x) + 1e-6, 0.5) * w; }},
    {"sum/n", [](Tensor x, Tensor w) { return x * rsqrt(sum(x * x) / 16.0 + 1e-6) * w; }},
    {"no eps", [](Tensor x, Tensor w) { return x * rsqrt(mean(x * x)) * w; }},
};

TEST(RecognizeRmsNorm, EverySpelling) {
  for (const Spelling& s : kRmsNorms) {
    SCOPED_TRACE(s.name);
    Net net;
    const Tensor x = net.input("x", 16), w = net.weight("w", {16});
    net.output(s.make(x, w), "y");
    net.apply(test::all_passes);
    EXPECT_THAT(net.ops(), ElementsAre("rms_norm")) << to_text(net.graph());
    EXPECT_EQ(net.last().attrs.get<double>("eps"), std::string(s.name) == "no eps" ? 0 : 1e-6);
  }
}

const Spelling kNotRmsNorms[] = {
    {"sum without 1/n", [](Tensor x, Tensor w) { return x * rsqrt(sum(x * x) + 1e-6) * w; }},
    {"cube", [](Tensor x, Tensor w) { return x * rsqrt(mean(pow(x, 4)) + 1e-6) * w; }},
    {"other x", [](Tensor x, Tensor w) { return tanh(x) * rsqrt(mean(x * x) + 1e-6) * w; }},
    {"factor inside", [](Tensor x, Tensor w) { return x * 2.0 * rsqrt(mean(x * x) + 1e-6) * w; }},
    {"sqrt above", [](Tensor x, Tensor w) { return x * sqrt(mean(x * x) + 1e-6) * w; }},
    {"no weight", [](Tensor x, Tensor) { return x * rsqrt(mean(x * x) + 1e-6); }},
    {"weight divides", [](Tensor x, Tensor w) { return x * rsqrt(mean(x * x) + 1e-6) / w; }},
};

TEST(RecognizeRmsNorm, NearMissesStay) {
  for (const Spelling& s : kNotRmsNorms) {
    SCOPED_TRACE(s.name);
    Net net;
    const Tensor x = net.input("x", 16), w = net.weight("w", {16});
    net.output(s.make(x, w), "y");
    net.apply(test::all_passes);
    EXPECT_THAT(net.ops(), Not(Contains("rms_norm"))) << to_text(net.graph());
  }
}

TEST(RecognizeRmsNorm, KeepsWhatOthersRead) {
  Net net;
  const Tensor x = net.input("x", 16), w = net.weight("w", {16});
  const Tensor inverse = rsqrt(mean(x * x) + 1e-6);
  net.output(x * inverse * w, "y");
  net.output(inverse, "inverse");  // a debug output inside the pattern
  EXPECT_EQ(net.apply(recognize_rms_norm), 0);
}

TEST(RecognizeRmsNorm, LooksThroughCasts) {
  Net net;
  const Tensor x = net.input("x", 16, DType::bf16), w = net.weight("w", {16}, DType::bf16);
  const Tensor wide = cast(x, DType::f32);
  net.output(w * cast(wide * rsqrt(mean(pow(wide, 2)) + 1e-6), DType::bf16), "y");
  net.apply(test::all_passes);
  EXPECT_THAT(net.ops(), ElementsAre("rms_norm")) << to_text(net.graph());
}

TEST(RecognizeRmsNorm, GemmaWeightPlusOne) {
  Net net;
  const Tensor x = net.input("x", 16), w = net.weight("w", {16});
  net.output(x * rsqrt(mean(x * x) + 1e-6) * (1.0 + w), "y");
  net.apply(test::all_passes);
  EXPECT_THAT(net.ops(), ElementsAre("constant", "binary", "rms_norm")) << to_text(net.graph());
}

TEST(RecognizeLayerNorm, WithAndWithoutBias) {
  for (bool bias : {false, true}) {
    Net net;
    const Tensor x = net.input("x", 16), w = net.weight("w", {16});
    const Tensor variance = mean(pow(x - mean(x), 2));
    Tensor y = (x - mean(x)) / sqrt(variance + 1e-5) * w;
    if (bias) y = net.weight("b", {16}) + y;
    net.output(y, "y");
    net.apply(test::all_passes);
    EXPECT_THAT(net.ops(), ElementsAre("layer_norm")) << to_text(net.graph());
    EXPECT_EQ(net.last().inputs.size(), bias ? 3u : 2u);
  }
}

TEST(RecognizeLayerNorm, OtherMeanStays) {
  Net net;
  const Tensor x = net.input("x", 16), z = net.input("z", 16), w = net.weight("w", {16});
  const Tensor d = x - mean(z);
  net.output(d * rsqrt(mean(d * d) + 1e-5) * w, "y");
  net.apply(test::all_passes);
  EXPECT_THAT(net.ops(), Not(Contains("layer_norm")));
}

const double kC = std::sqrt(2 / std::numbers::pi), kHalf = std::numbers::sqrt2;

struct ActivationSpelling {
  const char* kind;
  Tensor (*make)(Tensor x);
};

const ActivationSpelling kActivations[] = {
    {"sigmoid", [](Tensor x) { return 1.0 / (1.0 + exp(-x)); }},
    {"sigmoid", [](Tensor x) { return 1.0 / (exp(x * -1.0) + 1.0); }},
    {"silu", [](Tensor x) { return x * sigmoid(x); }},
    {"silu", [](Tensor x) { return sigmoid(x) * x; }},
    {"silu", [](Tensor x) { return x / (1.0 + exp(0.0 - x)); }},
    {"silu", [](Tensor x) { return (1.0 / (1.0 + exp(-x))) * x; }},
    {"relu", [](Tensor x) { return binary("max", 0.0, x); }},
    {"gelu", [](Tensor x) { return 0.5 * x * (1.0 + erf(x / kHalf)); }},
    {"gelu", [](Tensor x) { return x * (0.5 * (erf(x * (1 / kHalf)) + 1.0)); }},
    {"gelu", [](Tensor x) { return (x * (1.0 + erf(x / kHalf))) / 2.0; }},
    {"gelu", [](Tensor x) { return x * (0.5 + 0.5 * erf(x / kHalf)); }},
    {"gelu_tanh", [](Tensor x) { return 0.5 * x * (1.0 + tanh(kC * (x + 0.044715 * pow(x, 3)))); }},
    {"gelu_tanh",
     [](Tensor x) { return (tanh((x + x * x * x * 0.044715) * kC) + 1.0) * (0.5 * x); }},
    {"gelu_tanh",
     [](Tensor x) { return 0.5 * x * (1.0 + tanh(kC * x * (1.0 + 0.044715 * x * x))); }},
};

TEST(RecognizeActivations, EverySpelling) {
  for (const ActivationSpelling& s : kActivations) {
    SCOPED_TRACE(s.kind);
    Net net;
    net.output(s.make(net.input("x", 16)), "y");
    net.apply(test::all_passes);
    EXPECT_THAT(net.ops(), ElementsAre("unary")) << to_text(net.graph());
    EXPECT_EQ(net.last().attrs.get<std::string>("kind"), s.kind);
  }
}

TEST(RecognizeActivations, ShortConstantsCount) {
  Net net;
  const Tensor x = net.input("x", 16);
  net.output(0.5 * x * (1.0 + tanh(0.79788456 * (x + 0.044715 * x * x * x))), "y");
  net.apply(test::all_passes, 1e-8);
  EXPECT_THAT(net.ops(), ElementsAre("unary"));
}

const ActivationSpelling kNotActivations[] = {
    {"quick gelu", [](Tensor x) { return x * sigmoid(1.702 * x); }},
    {"2 + exp", [](Tensor x) { return x / (2.0 + exp(-x)); }},
    {"exp(x)", [](Tensor x) { return x / (1.0 + exp(x)); }},
    {"wrong half", [](Tensor x) { return 0.4 * x * (1.0 + erf(x / kHalf)); }},
    {"wrong scale", [](Tensor x) { return 0.5 * x * (1.0 + erf(x / 1.5)); }},
    {"1 - erf", [](Tensor x) { return 0.5 * x * (1.0 - erf(x / kHalf)); }},
    {"square for cube",
     [](Tensor x) { return 0.5 * x * (1.0 + tanh(kC * (x + 0.044715 * x * x))); }},
    {"other x", [](Tensor x) { return 0.5 * exp(x) * (1.0 + erf(x / kHalf)); }},
};

TEST(RecognizeActivations, NearMissesStay) {
  for (const ActivationSpelling& s : kNotActivations) {
    SCOPED_TRACE(s.kind);
    Net net;
    net.output(s.make(net.input("x", 16)), "y");
    net.apply(test::all_passes);
    for (const Node& n : net.graph().nodes()) {
      if (n.op != Op::unary) continue;
      const std::string kind = n.attrs.get<std::string>("kind");
      EXPECT_THAT(kind, Not(testing::AnyOf("silu", "gelu", "gelu_tanh"))) << to_text(net.graph());
    }
  }
}

TEST(RecognizeActivations, KeepsWhatOthersRead) {
  Net net;
  const Tensor x = net.input("x", 16);
  const Tensor s = sigmoid(x);
  net.output(x * s, "y");
  net.output(s, "gate");
  EXPECT_EQ(net.apply(recognize_activations), 0);
}

TEST(RecognizeSoftcap, BothSpellings) {
  for (int spelling : {0, 1}) {
    Net net;
    const Tensor x = net.input("x", 16);
    net.output(spelling ? tanh(x * (1 / 30.0)) * 30.0 : 30.0 * tanh(x / 30.0), "y");
    net.apply(test::all_passes);
    EXPECT_THAT(net.ops(), ElementsAre("softcap"));
    EXPECT_EQ(net.last().attrs.get<double>("cap"), 30);
  }
}

TEST(RecognizeSoftcap, UnequalCapsStay) {
  Net net;
  net.output(30.0 * tanh(net.input("x", 16) / 20.0), "y");
  net.apply(test::all_passes);
  EXPECT_THAT(net.ops(), Not(Contains("softcap")));
}

}  // namespace
}  // namespace tokamak
