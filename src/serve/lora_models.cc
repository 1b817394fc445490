#include "serve/lora_models.h"

#include <nlohmann/json.hpp>

#include "base/log.h"
#include "serve/api_error.h"

namespace tokamak::serve {

void LoraModels::load(const std::string& name, const std::string& path, bool in_place) {
  const std::lock_guard lock(mutex_);
  const auto before = entries_.find(name);
  if (name == base_ || (before != entries_.end() && !in_place))
    throw ApiError(400, fmt::format("lora_name: a model '{}' is served already", name), "lora_name",
                   "invalid_value");
  int32_t lora = -1;
  executor_.between_steps([&] { lora = llm_.load_lora(path); });
  if (before != entries_.end()) executor_.unload_lora(before->second.lora);
  entries_[name] = {path, lora};
  log::info("LoRA adapter '{}' loaded from '{}'", name, path);
}

void LoraModels::unload(const std::string& name) {
  const std::lock_guard lock(mutex_);
  const auto it = entries_.find(name);
  if (it == entries_.end())
    throw ApiError(404, fmt::format("lora_name: there is no LoRA adapter '{}'", name), "lora_name",
                   "model_not_found");
  executor_.unload_lora(it->second.lora);
  entries_.erase(it);
  log::info("LoRA adapter '{}' unloaded", name);
}

int32_t LoraModels::find(const std::optional<std::string>& name) const {
  if (!name || *name == base_) return -1;
  const std::lock_guard lock(mutex_);
  if (const auto it = entries_.find(*name); it != entries_.end()) return it->second.lora;
  std::string known = fmt::format("'{}'", base_);
  for (const auto& [n, entry] : entries_) known += fmt::format(", '{}'", n);
  throw ApiError(404,
                 fmt::format("model: '{}' is not served here, {} {}", *name, known,
                             entries_.empty() ? "is" : "are"),
                 "model", "model_not_found");
}

std::vector<LoraModels::Model> LoraModels::list() const {
  const std::lock_guard lock(mutex_);
  std::vector<Model> models;
  for (const auto& [name, entry] : entries_) models.push_back({name, entry.path});
  return models;
}

std::pair<std::string, std::string> parse_lora_module(const std::string& text) {
  std::pair<std::string, std::string> module;
  if (text.starts_with("{")) {
    const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (json.is_object()) module = {json.value("name", ""), json.value("path", "")};
  } else if (const size_t at = text.find('='); at != text.npos) {
    module = {text.substr(0, at), text.substr(at + 1)};
  }
  if (module.first.empty() || module.second.empty())
    fail("--lora_modules '{}': expected NAME=PATH", text);
  return module;
}

}  // namespace tokamak::serve
