// LoRA adapters by the names that clients use as models.
#pragma once
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "tokamak/executor.h"
#include "tokamak/llm.h"

namespace tokamak::serve {

class LoraModels {
 public:
  LoraModels(LLM& llm, Executor& executor, std::string base)
      : llm_(llm), executor_(executor), base_(std::move(base)) {}

  // ApiError 400: the name is taken (unless it may be replaced). Error: the adapter does not fit.
  void load(const std::string& name, const std::string& path, bool in_place = false);
  void unload(const std::string& name);  // ApiError 404
  // Its number, -1 for the base model or without a name. ApiError 404 for others.
  int32_t find(const std::optional<std::string>& name) const;
  struct Model {
    std::string name, path;
  };
  std::vector<Model> list() const;

 private:
  struct Entry {
    std::string path;
    int32_t lora = -1;
  };
  LLM& llm_;
  Executor& executor_;
  const std::string base_;
  mutable std::mutex mutex_;
  std::map<std::string, Entry> entries_;
};

// "name=path" of --lora_modules, or vLLM's JSON {"name": …, "path": …}. Error.
std::pair<std::string, std::string> parse_lora_module(const std::string& text);

}  // namespace tokamak::serve
