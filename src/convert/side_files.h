// What travels with the weights: tokenizer files, chat template, generation defaults.
#pragma once
#include <filesystem>

#include "convert/model_source.h"

namespace tokamak {

void write_side_files(const ModelSource& source, const std::filesystem::path& directory);

}  // namespace tokamak
