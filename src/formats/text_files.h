// The files beside a model's weights that concern text: what travels from model to checkpoint to
// engine.
#pragma once
#include <string_view>

namespace tokamak {

inline constexpr std::string_view kTextFiles[] = {
    "tokenizer.json",          "tokenizer.model",   "tokenizer.gguf",      "tokenizer_config.json",
    "special_tokens_map.json", "added_tokens.json", "chat_template.jinja", "chat_template.json",
    "generation_config.json",  "vocab.txt",         "vocab.json",          "merges.txt"};

}  // namespace tokamak
