// SmolLM2-135M and Gemma 3 270M over 4,096 positions of real text, against transformers in float32
// on the same dequantized weights; then the narrower engines against our float32 one.
#include <gtest/gtest.h>
#include <unistd.h>

#include "accuracy/reference.h"

namespace tokamak {
namespace {

struct Model {
  const char* name;
  const char* variable;  // environment: where the GGUF is
  const char* fixture;
  int64_t narrow_windows;  // for the comparisons between our own engines
};

constexpr Model kModels[] = {
    {"SmolLM2", "TOKAMAK_TEST_SMOLLM2", "smollm2-135m.safetensors", 8},
    {"Gemma3", "TOKAMAK_TEST_GEMMA3", "gemma3-270m.safetensors", 2},
};

struct Fixture {
  explicit Fixture(const char* name) : file(test::data(name)) {}
  SafetensorsFile file;
  int64_t windows() const { return file.tensor("tokens").shape[0]; }
  int64_t length() const { return file.tensor("tokens").shape[1]; }
  std::span<const int32_t> window(int64_t w) const {
    return test::values<int32_t>(file.tensor("tokens")).subspan(w * length(), length());
  }
  // Row `position` of window w of a [windows, length, n] tensor.
  template <typename T>
  std::span<const T> row(const char* name, int64_t w, int64_t position) const {
    const TensorView& t = file.tensor(name);
    const int64_t n = t.shape.elems() / (windows() * length());
    return test::values<T>(t).subspan((w * length() + position) * n, n);
  }
};

class RealModel : public testing::TestWithParam<Model> {
 protected:
  LLM open(LLMOptions options) {
    options.cache_dir = cache_.path;
    options.tuning = false;
    options.device = test::device();
    options.kv_cache_tokens = Fixture(GetParam().fixture).length() + 64;  // three share a GPU
    return LLM(test::real_model(GetParam().variable), options);
  }
  test::TempDir cache_{"real_model"};
};

TEST_P(RealModel, Float32EqualsTransformers) {
  LLM llm = open({.dtype = "float32", .keep_quantized = false, .kv_cache_dtype = "float32"});
  const Fixture f(GetParam().fixture);
  const auto probes = test::values<int32_t>(f.file.tensor("probe_ids"));
  double largest = 0, nll = 0, reference_nll = 0;
  int64_t rows = 0, same_top = 0, scored = 0;
  for (int64_t w = 0; w < f.windows(); ++w) {
    llm.score(f.window(w), [&](int64_t p, std::span<const float> row) {
      const auto near = [&](double ours, double theirs) {
        largest = std::max(largest, std::fabs(ours - theirs));
      };
      const auto probe = f.row<float>("probe_logits", w, p);
      for (size_t i = 0; i < probes.size(); ++i) near(row[probes[i]], probe[i]);
      const auto top_ids = f.row<int32_t>("top_ids", w, p);
      const auto top = f.row<float>("top_logits", w, p);
      for (size_t i = 0; i < top.size(); ++i) near(row[top_ids[i]], top[i]);
      const double lse = test::log_sum_exp(row), expected_lse = f.row<float>("lse", w, p)[0];
      near(lse, expected_lse);
      same_top += test::argmax(row) == top_ids[0];
      ++rows;
      if (p + 1 == f.length()) return;
      nll += lse - row[f.window(w)[p + 1]];
      reference_nll += expected_lse - f.row<float>("next_logits", w, p)[0];
      ++scored;
    });
  }
  const double ppl = std::exp(nll / scored), reference = std::exp(reference_nll / scored);
  std::printf(
      "%ld positions: max |dlogit| %.2e, same top-1 %.3f %%, perplexity %.4f (reference %.4f)\n",
      rows, largest, 100.0 * same_top / rows, ppl, reference);
  EXPECT_GE(rows, 4000);
  EXPECT_LE(largest, 2e-3);
  EXPECT_GE(same_top, rows * 0.999);
  EXPECT_NEAR(ppl, reference, 0.003 * reference);
}

struct Close {
  double kl = 0;  // mean KL(reference ‖ ours) per token
  double same_top = 0;
};

Close compare(LLM& ours, LLM& reference, const Fixture& f, int64_t windows) {
  Close c;
  int64_t rows = 0, same = 0;
  for (int64_t w = 0; w < windows; ++w) {
    std::vector<std::vector<float>> expected;
    reference.score(f.window(w), [&](int64_t, std::span<const float> row) {
      expected.emplace_back(row.begin(), row.end());
    });
    ours.score(f.window(w), [&](int64_t p, std::span<const float> row) {
      const auto& e = expected[p];
      const double a = test::log_sum_exp(e), b = test::log_sum_exp(row);
      for (size_t i = 0; i < row.size(); ++i)
        c.kl += std::exp(e[i] - a) * ((e[i] - a) - (row[i] - b));
      same += test::argmax(e) == test::argmax(row);
      ++rows;
    });
  }
  c.kl /= rows;
  c.same_top = static_cast<double>(same) / rows;
  return c;
}

TEST_P(RealModel, NarrowEnginesStayClose) {
  LLM reference = open({.dtype = "float32", .keep_quantized = false, .kv_cache_dtype = "float32"});
  const Fixture f(GetParam().fixture);
  LLM bf16 = open({.dtype = "bfloat16", .keep_quantized = false});
  const Close b = compare(bf16, reference, f, GetParam().narrow_windows);
  std::printf("bfloat16: same top-1 %.2f %%, KL %.2e\n", 100 * b.same_top, b.kl);
  EXPECT_GE(b.same_top, 0.985);
  LLM native = open({});
  const Close n = compare(native, reference, f, GetParam().narrow_windows);
  std::printf("native blocks: same top-1 %.2f %%, KL %.2e\n", 100 * n.same_top, n.kl);
  EXPECT_LE(n.kl, 5e-3);
}

INSTANTIATE_TEST_SUITE_P(Models, RealModel, testing::ValuesIn(kModels),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace tokamak
