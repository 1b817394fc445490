// Readers of the file forms a tokenizer comes in. Each throws Error naming file and field.
#pragma once
#include <filesystem>
#include <string>
#include <string_view>

#include "text/tokenizer_spec.h"

namespace tokamak {

// tokenizer.json of Hugging Face. `text` is the file's content, `source` its name for messages.
TokenizerSpec parse_tokenizer_json(std::string_view text, const std::string& source);
TokenizerSpec read_tokenizer_json(const std::filesystem::path& path);

// SentencePiece's tokenizer.model.
TokenizerSpec read_sentencepiece_model(const std::filesystem::path& path);
// The tokenizer.ggml.* fields of a GGUF file (a whole model or vocabulary only).
TokenizerSpec read_gguf_tokenizer(const std::filesystem::path& path);

}  // namespace tokamak
