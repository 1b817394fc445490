#include "api/generation_config.h"

#include <cstdint>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json.h"
#include "formats/json_fields.h"

namespace tokamak {
namespace {

int32_t token_id(const JsonFields& fields, int64_t id) {
  if (id < 0 || id > INT32_MAX) fields.wrong("eos_token_id", "a token id");
  return static_cast<int32_t>(id);
}

SamplingParams parse(const JsonFields& fields) {
  SamplingParams p;
  p.temperature = fields.find_float("temperature").value_or(p.temperature);
  p.top_k = fields.find_int("top_k").value_or(p.top_k);
  p.top_p = fields.find_float("top_p").value_or(p.top_p);
  p.min_p = fields.find_float("min_p").value_or(p.min_p);
  p.repetition_penalty = fields.find_float("repetition_penalty").value_or(p.repetition_penalty);
  p.no_repeat_ngram_size = fields.find_int("no_repeat_ngram_size").value_or(p.no_repeat_ngram_size);
  if (!fields.find_bool("do_sample").value_or(false)) p.temperature = 0;
  if (const Json* eos = fields.find("eos_token_id"); eos && eos->is_array()) {
    for (const int64_t id : fields.ints("eos_token_id"))
      p.stop_token_ids.push_back(token_id(fields, id));
  } else if (eos) {
    p.stop_token_ids = {token_id(fields, fields.get_int("eos_token_id"))};
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
    const Json json = load_json(path);
    params = parse(JsonFields(json, path.string()));
    try {
      params.validate();
    } catch (const Error& e) {
      fail("'{}': {}", path.string(), e.what());
    }
  }
  if (params.stop_token_ids.empty() && tokenizer && tokenizer->eos_id())
    params.stop_token_ids = {*tokenizer->eos_id()};
  return params;
}

}  // namespace tokamak
