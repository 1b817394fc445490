// LoRA adapters as PEFT wrote them, against PEFT's own logits (tools/make_lora_fixtures.py).
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "accuracy/reference.h"
#include "base/error_of.h"
#include "base/json.h"

namespace tokamak {
namespace {

namespace fs = std::filesystem;

fs::path adapter_dir(const std::string& name) {
  return test::data("").parent_path().parent_path() / "lora" / name;
}

std::string model_of(const std::string& adapter) {
  std::ifstream file(adapter_dir(adapter) / "model.txt");
  std::string name;
  file >> name;
  return name;
}

LLMOptions options(const test::TempDir& cache) {
  LLMOptions o;
  o.device = test::device();
  o.dtype = o.kv_cache_dtype = "float32";
  o.tuning = false;
  o.max_lora_rank = 8;
  o.cache_dir = cache.path;
  return o;
}

struct Rows {
  std::vector<std::vector<float>> rows;
  double distance(const Rows& o) const {
    double largest = rows.size() == o.rows.size() ? 0 : 1e9;
    for (size_t r = 0; r < rows.size(); ++r)
      for (size_t i = 0; i < rows[r].size(); ++i)
        largest = std::max(largest, std::fabs(double(rows[r][i]) - o.rows[r][i]));
    return largest;
  }
};

Rows score(LLM& llm, std::span<const int32_t> tokens, int32_t lora) {
  Rows r;
  llm.score(
      tokens,
      [&](int64_t, std::span<const float> row) { r.rows.emplace_back(row.begin(), row.end()); },
      lora);
  return r;
}

Rows reference(const SafetensorsFile& file) {
  const TensorView& logits = file.tensor("logits");
  Rows r;
  for (int64_t i = 0; i < logits.shape[0]; ++i) {
    const float* row = logits.as<float>() + i * logits.shape[1];
    r.rows.emplace_back(row, row + logits.shape[1]);
  }
  return r;
}

class Lora : public testing::TestWithParam<std::string> {};

TEST_P(Lora, LogitsEqualPeft) {
  const test::TempDir cache("lora");
  LLM llm(test::data(model_of(GetParam())), options(cache));
  const SafetensorsFile file(adapter_dir(GetParam()) / "reference.safetensors");
  const auto tokens = test::values<int32_t>(file.tensor("tokens"));
  const Rows plain = score(llm, tokens, -1);
  const int32_t adapter = llm.load_lora(adapter_dir(GetParam()));
  const Rows adapted = score(llm, tokens, adapter);
  EXPECT_LE(adapted.distance(reference(file)), 2e-4);
  EXPECT_GT(adapted.distance(plain), 0.1);
  EXPECT_EQ(score(llm, tokens, -1).distance(plain), 0);  // others' tokens stay what they were
  llm.unload_lora(adapter);
  EXPECT_THROW(score(llm, tokens, adapter), Error);
}

INSTANTIATE_TEST_SUITE_P(Adapters, Lora,
                         testing::Values("llama-all", "llama-some", "llama-pattern", "phi3-fused",
                                         "gemma3-all"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

// Three adapters and none in one batch: each gets what it gets alone.
TEST(LoraBatch, EveryRequestHasItsOwn) {
  const test::TempDir cache("lora_batch");
  LLMOptions o = options(cache);
  o.deterministic = true;
  LLM llm(test::data("llama"), o);
  std::vector<int32_t> adapters = {-1};
  for (const char* name : {"llama-all", "llama-some", "llama-pattern"})
    adapters.push_back(llm.load_lora(adapter_dir(name)));
  std::vector<Request> requests;
  for (int i = 0; i < 8; ++i) {
    Request r;
    for (int t = 0; t < 3 + 5 * (i / 4); ++t) r.tokens.push_back((7 * t + 11) % 131);
    r.params.temperature = 0;
    r.params.max_tokens = 12;
    r.lora = adapters[static_cast<size_t>(i) % adapters.size()];
    requests.push_back(r);
  }
  const auto together = llm.generate(requests);
  std::set<std::vector<int32_t>> kinds;
  for (size_t i = 0; i < requests.size(); ++i) {
    EXPECT_EQ(llm.generate({&requests[i], 1})[0].tokens, together[i].tokens) << i;
    kinds.insert(together[i].tokens);
  }
  EXPECT_GT(kinds.size(), 4u);
}

// A copy of llama-some with one field of its config changed.
std::string refusal(LLM& llm, const test::TempDir& folder, const std::string& field,
                    const Json& value) {
  const fs::path to = folder.path / "changed";
  fs::remove_all(to);
  fs::copy(adapter_dir("llama-some"), to);
  Json config = load_json(to / "adapter_config.json");
  config[field] = value;
  std::ofstream(to / "adapter_config.json") << config.dump();
  return test::error_of([&] { llm.load_lora(to); });
}

TEST(LoraRefusals, NameWhatIsNotDone) {
  const test::TempDir cache("lora_refusals");
  LLM llm(test::data("llama"), options(cache));
  const std::pair<const char*, Json> changes[] = {{"use_dora", true},
                                                  {"bias", "all"},
                                                  {"peft_type", "IA3"},
                                                  {"modules_to_save", Json::array({"lm_head"})},
                                                  {"init_lora_weights", "pissa"},
                                                  {"lora_bias", true}};
  for (const auto& [field, value] : changes)
    EXPECT_NE(refusal(llm, cache, field, value).find(field), std::string::npos) << field;
  EXPECT_EQ(refusal(llm, cache, "use_dora", false), "");

  LLMOptions small = options(cache);
  small.max_lora_rank = 4;
  small.lora_target_modules = {"q_proj", "v_proj"};
  LLM narrow(test::data("llama"), small);
  EXPECT_NO_THROW(narrow.load_lora(adapter_dir("llama-some")));
  EXPECT_THROW(narrow.load_lora(adapter_dir("llama-all")), Error);      // rank 8
  EXPECT_THROW(narrow.load_lora(adapter_dir("llama-pattern")), Error);  // down_proj
  EXPECT_THROW(narrow.load_lora(adapter_dir("phi3-fused")), Error);     // another model's
  LLMOptions none = options(cache);
  none.max_lora_rank = 0;
  LLM without(test::data("llama"), none);
  EXPECT_THROW(without.load_lora(adapter_dir("llama-some")), Error);
}

TEST(LoraRefusals, OnlySoManyAtATime) {
  const test::TempDir cache("lora_many");
  LLMOptions o = options(cache);
  o.max_loras = 2;
  LLM llm(test::data("llama"), o);
  const int32_t first = llm.load_lora(adapter_dir("llama-some"));
  llm.load_lora(adapter_dir("llama-all"));
  EXPECT_THROW(llm.load_lora(adapter_dir("llama-some")), Error);
  llm.unload_lora(first);
  EXPECT_NO_THROW(llm.load_lora(adapter_dir("llama-some")));
}

}  // namespace
}  // namespace tokamak
