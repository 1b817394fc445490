// Weights that a GPU takes from host memory in every step: the same logits and tokens, bit for bit,
// as with all of them in its own, for prompts, single steps and recorded decoding.
// TOKAMAK_TEST_DEVICE=cuda.
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <random>

#include "accuracy/reference.h"
#include "api/build.h"
#include "runtime/session.h"

namespace tokamak {
namespace {

std::filesystem::path write_config(const std::filesystem::path& folder) {
  const auto path = folder / "config.json";
  std::ofstream(path) << R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama",
    "vocab_size": 2048, "hidden_size": 1024, "intermediate_size": 2816, "num_hidden_layers": 8,
    "num_attention_heads": 8, "num_key_value_heads": 8, "hidden_act": "silu",
    "max_position_embeddings": 4096, "rms_norm_eps": 1e-05, "rope_theta": 10000.0,
    "tie_word_embeddings": false, "torch_dtype": "float16"})";
  return path;
}

class HostWeights : public testing::TestWithParam<const char*> {
 protected:
  static std::vector<int32_t> random_tokens(size_t n, unsigned seed) {
    std::mt19937 random(seed);
    std::vector<int32_t> tokens(n);
    for (int32_t& t : tokens) t = static_cast<int32_t>(random() % 2048);
    return tokens;
  }
  // Logits of prompts, then what decoding in a batch of three chooses.
  struct Result {
    std::vector<float> logits;
    std::vector<int32_t> tokens;
    int64_t moved = 0;
    double planned = 0, peak = 0;
  };
  static Result run(const std::filesystem::path& engine, const std::string& percent) {
    LLMOptions options{.device = test::device(), .tuning = false, .kv_cache_tokens = 4096};
    options.gpu_weights_percent = percent;
    LLM llm(engine, options);
    Result result;
    llm.score(random_tokens(100, 3), [&](int64_t, std::span<const float> row) {
      result.logits.insert(result.logits.end(), row.begin(), row.end());
    });
    std::vector<Request> requests(3);
    for (size_t i = 0; i < requests.size(); ++i) {
      requests[i].tokens = random_tokens(20 + 7 * i, static_cast<unsigned>(i));
      requests[i].params.temperature = 0;
      requests[i].params.max_tokens = 96;
      requests[i].params.ignore_eos = true;
    }
    for (const Completion& c : llm.generate(requests))
      result.tokens.insert(result.tokens.end(), c.tokens.begin(), c.tokens.end());
    result.moved = llm.session().weight_traffic().bytes;
    result.planned = static_cast<double>(llm.session().memory().total());
    result.peak = static_cast<double>(llm.session().backend().memory_use()->peak);
    if (result.moved > 0) std::printf("%s\n", llm.session().weight_traffic().line().c_str());
    return result;
  }
  test::TempDir folder_{"host_weights"};
};

TEST_P(HostWeights, ChangeNothing) {
  if (test::device() == "cpu") GTEST_SKIP() << "TOKAMAK_TEST_DEVICE names no other device";
  const auto backend = make_backend(test::device(), 0);
  BuildOptions o;
  o.output_dir = folder_.path / "engine";
  o.tuning = false;
  o.quiet = true;
  o.weights_at_open = true;
  o.activation_bits = "16";
  if (*GetParam()) o.quantization = make_recipe(GetParam(), {});
  build_random(write_config(folder_.path), DType::f16, o, *backend);
  const Result want = run(o.output_dir, "100");
  EXPECT_EQ(want.moved, 0);
  for (const char* percent : {"70", "0.3", "0"}) {
    const Result have = run(o.output_dir, percent);
    EXPECT_GT(have.moved, 0) << percent;
    EXPECT_TRUE(have.logits == want.logits) << percent;
    EXPECT_EQ(have.tokens, want.tokens) << percent;
    EXPECT_LT(have.planned, want.planned);
    EXPECT_NEAR(have.peak, have.planned, 0.02 * have.planned) << percent;
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, HostWeights, testing::Values("", "fp8", "int8_wo", "int4_wo"),
                         [](const auto& info) {
                           return std::string(*info.param ? info.param : "float16");
                         });

}  // namespace
}  // namespace tokamak
