// A model as wide as LLaMA-7B with random weights: a GPU's logits against the CPU's on the same
// weights, which computes with float32 activations: by AVX2, for higher levels may round them to
// bfloat16. TOKAMAK_TEST_DEVICE=cuda; TOKAMAK_TEST_LAYERS=32 for all of it.
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <random>

#include "accuracy/reference.h"
#include "api/build.h"

namespace tokamak {
namespace {

constexpr int64_t kPrompt = 48;

struct Format {
  const char* name;
  const char* qformat;   // null: float16
  double largest_error;  // root of the mean square, as a part of the logits'
};

constexpr Format kFormats[] = {{"float16", nullptr, 0.01},
                               {"fp8", "fp8", 0.08},
                               {"int8", "int8_wo", 0.01},
                               {"int4", "int4_wo", 0.01}};

std::filesystem::path write_config(const std::filesystem::path& folder, const char* layers) {
  const auto path = folder / "config.json";
  std::ofstream(path) << R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama",
    "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 11008,
    "num_attention_heads": 32, "num_key_value_heads": 32, "hidden_act": "silu",
    "max_position_embeddings": 4096, "rms_norm_eps": 1e-05, "rope_theta": 10000.0,
    "tie_word_embeddings": false, "torch_dtype": "float16", "num_hidden_layers": )"
                      << layers << "}";
  return path;
}

class DeviceLogits : public testing::TestWithParam<Format> {
 protected:
  std::vector<std::vector<float>> logits(const std::string& device,
                                         const std::vector<int32_t>& tokens) {
    const char* layers = std::getenv("TOKAMAK_TEST_LAYERS");
    const auto backend = make_backend(device, 0);
    BuildOptions o;
    o.output_dir = folder_.path / device;
    o.tuning = false;
    o.quiet = true;
    o.weights_at_open = true;
    o.activation_bits = "16";
    if (GetParam().qformat) o.quantization = make_recipe(GetParam().qformat, {});
    build_random(write_config(folder_.path, layers ? layers : "4"), DType::f16, o, *backend);
    LLM llm(o.output_dir, {.device = device, .tuning = false, .kv_cache_tokens = 1024});
    std::vector<std::vector<float>> rows;
    llm.score(tokens, [&](int64_t, std::span<const float> row) {
      rows.emplace_back(row.begin(), row.end());
    });
    // And as decoding computes it: one token at a time after the prompt.
    Request request;
    request.tokens = tokens;
    request.params.temperature = 0;
    request.params.max_tokens = 8;
    request.params.ignore_eos = true;
    request.return_logits = true;
    const std::vector<Completion> completions = llm.generate({&request, 1});
    rows.insert(rows.end(), completions[0].logits.begin(), completions[0].logits.end());
    return rows;
  }
  test::TempDir folder_{"device_logits"};
};

TEST_P(DeviceLogits, OfTheSevenBillionShapeEqualTheCpus) {
  if (test::device() == "cpu") GTEST_SKIP() << "TOKAMAK_TEST_DEVICE names no other device";
  std::mt19937 random(7);
  std::vector<int32_t> tokens(kPrompt);
  for (int32_t& t : tokens) t = static_cast<int32_t>(random() % 32000);
  ::setenv("TOKAMAK_ISA", "avx2", 1);
  const auto want = logits("cpu", tokens);
  ::unsetenv("TOKAMAK_ISA");
  const auto have = logits(test::device(), tokens);
  ASSERT_EQ(have.size(), want.size());
  double error = 0, size = 0;
  int same = 0, followed = 0, rows = 0;
  for (size_t r = 0; r < want.size(); ++r) {
    // A generated token may differ where two are nearly equal; what follows is another text.
    if (r >= static_cast<size_t>(kPrompt) + 1 &&
        test::argmax(want[r - 1]) != test::argmax(have[r - 1]))
      break;
    ++rows;
    followed += r >= static_cast<size_t>(kPrompt);
    for (size_t i = 0; i < want[r].size(); ++i) {
      error += (have[r][i] - want[r][i]) * (have[r][i] - want[r][i]);
      size += want[r][i] * want[r][i];
    }
    same += test::argmax(want[r]) == test::argmax(have[r]);
  }
  const double relative = std::sqrt(error / size);
  std::printf("%s: %d rows (%d decoded), error %.2e of the logits, same top-1 %d\n",
              GetParam().name, rows, followed, relative, same);
  EXPECT_GT(followed, 0);
  EXPECT_LE(relative, GetParam().largest_error);
}

INSTANTIATE_TEST_SUITE_P(Formats, DeviceLogits, testing::ValuesIn(kFormats),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace tokamak
