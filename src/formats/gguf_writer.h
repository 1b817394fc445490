// Writes small GGUF files: metadata taken over from another one.
#pragma once
#include <filesystem>

#include "formats/gguf.h"

namespace tokamak {

// A GGUF file (version 3) without tensors: general.architecture, general.name (some vocabularies'
// rules go by it) and every tokenizer.* value of
// `source`, byte for byte.
void write_gguf_vocabulary(const GgufFile& source, const std::filesystem::path& path);

}  // namespace tokamak
