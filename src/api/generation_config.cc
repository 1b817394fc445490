#include "api/generation_config.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json.h"

namespace tokamak {
namespace {

template <typename T>
void read(const Json& json, const char* field, T& value) {
  if (const auto it = json.find(field); it != json.end() && !it->is_null()) value = it->get<T>();
}

SamplingParams parse(const Json& json) {
  SamplingParams p;
  bool sample = false;
  read(json, "do_sample", sample);
  read(json, "temperature", p.temperature);
  read(json, "top_k", p.top_k);
  read(json, "top_p", p.top_p);
  read(json, "min_p", p.min_p);
  read(json, "repetition_penalty", p.repetition_penalty);
  read(json, "no_repeat_ngram_size", p.no_repeat_ngram_size);
  if (!sample) p.temperature = 0;
  if (const auto it = json.find("eos_token_id"); it != json.end() && !it->is_null()) {
    if (it->is_array())
      p.stop_token_ids = it->get<std::vector<int32_t>>();
    else
      p.stop_token_ids = {it->get<int32_t>()};
  }
  return p;
}

}  // namespace

SamplingParams read_generation_config(const std::filesystem::path& directory,
                                      const Tokenizer* tokenizer) {
  const auto path = directory / "generation_config.json";
  SamplingParams params;
  params.temperature = 0;
  std::error_code ignored;
  if (std::filesystem::is_regular_file(path, ignored)) {
    try {
      params = parse(load_json(path));
      params.validate();
    } catch (const nlohmann::json::exception& e) {
      fail("'{}': {}", path.string(), e.what());
    } catch (const Error& e) {
      fail("'{}': {}", path.string(), e.what());
    }
  }
  if (params.stop_token_ids.empty() && tokenizer && tokenizer->eos_id())
    params.stop_token_ids = {*tokenizer->eos_id()};
  return params;
}

}  // namespace tokamak
