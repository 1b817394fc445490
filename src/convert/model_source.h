// A model as published, opened: its config, its family and its tensors, from either kind of file.
#pragma once
#include <filesystem>
#include <memory>
#include <string>

#include "formats/gguf.h"
#include "formats/safetensors.h"
#include "models/family.h"

namespace tokamak {

struct ModelSource {
  std::string name;  // path, for messages
  const Family* family = nullptr;
  const WeightNames* names = nullptr;
  ModelConfig config;
  std::filesystem::path directory;                    // of a Hugging Face model; empty for GGUF
  std::shared_ptr<const SafetensorsSet> safetensors;  // one of these two
  std::shared_ptr<const GgufFile> gguf;

  const TensorMap& tensors() const { return gguf ? gguf->tensors() : safetensors->tensors(); }
  void release(std::span<const std::byte> part) const {
    if (gguf)
      gguf->release(part);
    else
      safetensors->release(part);
  }
};

// Throws Error saying what was looked for when the path holds no model.
ModelSource open_model_source(const std::filesystem::path& path);

}  // namespace tokamak
