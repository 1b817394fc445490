#include "engine/engine_config.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json_integer.h"
#include "engine/kv_layout.h"

namespace tokamak {

void BuildLimits::validate() const {
  const auto positive = [](const char* flag, int64_t n) {
    if (n < 1 || n > (int64_t{1} << 30))
      fail("--{} is {}, expected a number from 1 to {}", flag, n, int64_t{1} << 30);
  };
  positive("max_batch_size", max_batch_size);
  positive("max_input_len", max_input_len);
  positive("max_seq_len", max_seq_len);
  positive("max_num_tokens", max_num_tokens);
  positive("max_beam_width", max_beam_width);
  if (max_input_len > max_seq_len)
    fail("--max_input_len is {}, which is more than --max_seq_len {} (prompt and answer)",
         max_input_len, max_seq_len);
}

Json EngineConfig::to_json() const {
  return {{"version", version},
          {"pretrained_config", pretrained},
          {"build_config",
           {{"max_batch_size", limits.max_batch_size},
            {"max_input_len", limits.max_input_len},
            {"max_seq_len", limits.max_seq_len},
            {"max_num_tokens", limits.max_num_tokens},
            {"max_beam_width", limits.max_beam_width},
            {"kv_cache_dtype", kv_dtype_name(kv_cache_dtype)},
            {"debug_tensors", debug_tensors},
            {"activation_bits", activation_bits},
            {"deterministic", deterministic},
            {"max_lora_rank", max_lora_rank},
            {"lora_target_modules", lora_target_modules},
            {"device", device},
            {"isa", isa}}}};
}

EngineConfig EngineConfig::from_json(const Json& json, const std::string& source) {
  EngineConfig c;
  try {
    c.version = json.at("version").get<std::string>();
    c.pretrained = json.at("pretrained_config");
    const Json& b = json.at("build_config");
    c.limits.max_batch_size = json_integer<int64_t>(b.at("max_batch_size"));
    c.limits.max_input_len = json_integer<int64_t>(b.at("max_input_len"));
    c.limits.max_seq_len = json_integer<int64_t>(b.at("max_seq_len"));
    c.limits.max_num_tokens = json_integer<int64_t>(b.at("max_num_tokens"));
    c.limits.max_beam_width = json_integer<int64_t>(b.at("max_beam_width"));
    c.kv_cache_dtype = parse_kv_dtype(b.at("kv_cache_dtype").get<std::string>());
    c.debug_tensors = b.value("debug_tensors", "");
    c.activation_bits = b.value("activation_bits", "16");
    c.deterministic = b.value("deterministic", false);
    c.max_lora_rank = b.contains("max_lora_rank") ? json_integer<int64_t>(b["max_lora_rank"]) : 0;
    c.lora_target_modules = b.value("lora_target_modules", std::vector<std::string>());
    c.device = b.at("device").get<std::string>();
    c.isa = b.at("isa").get<std::string>();
    c.limits.validate();
  } catch (const nlohmann::json::exception& e) {
    fail("'{}' is not an engine's config.json: {}", source, e.what());
  } catch (const Error& e) {
    fail("'{}': {}", source, e.what());
  }
  return c;
}

EngineConfig read_engine_config(const std::filesystem::path& directory) {
  const auto path = directory / "config.json";
  return EngineConfig::from_json(load_json(path), path.string());
}

std::filesystem::path engine_path(const std::filesystem::path& directory, int rank) {
  return directory / fmt::format("rank{}.engine", rank);
}

bool is_engine_directory(const std::filesystem::path& directory) {
  std::error_code ignored;
  return std::filesystem::is_regular_file(engine_path(directory, 0), ignored);
}

}  // namespace tokamak
