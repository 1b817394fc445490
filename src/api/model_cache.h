// Any stage of a model → an engine directory: what is no engine yet is converted and built into the
// cache directory, once.
#pragma once
#include <filesystem>

#include "backend/backend.h"
#include "tokamak/llm.h"

namespace tokamak {

// Error when the path holds no model; then nothing is left in the cache.
std::filesystem::path engine_of(const std::filesystem::path& model, const LLMOptions& options,
                                Backend& backend);

}  // namespace tokamak
