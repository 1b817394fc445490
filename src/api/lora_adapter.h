// A LoRA adapter as PEFT writes it: adapter_config.json and adapter_model.safetensors.
#pragma once
#include <deque>
#include <filesystem>
#include <vector>

#include "formats/model_config.h"
#include "formats/safetensors.h"
#include "runtime/lora_store.h"

namespace tokamak {

struct LoraAdapter {
  std::vector<LoraMatrices> matrices;  // views of what follows
  std::unique_ptr<SafetensorsFile> file;
  std::deque<std::vector<std::byte>> gathered;
};

// Error names the file and what in it this program does not apply: other methods than LoRA, DoRA,
// biases, modules that are not linears of the model's layers.
LoraAdapter read_lora_adapter(const std::filesystem::path& directory, const ModelConfig& model);

}  // namespace tokamak
