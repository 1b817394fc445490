// A Hugging Face model directory's config.json: the text part of it, whichever of the two styles
// (rope_scaling + torch_dtype, or transformers 5's rope_parameters + dtype) it is written in.
#pragma once
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "formats/json_fields.h"
#include "formats/model_config.h"

namespace tokamak {

struct HfConfig {
  std::string source;          // path, for messages
  std::string architecture;    // "Gemma3ForConditionalGeneration"
  Json text;                   // the language model's fields (text_config where there is one)
  std::optional<DType> dtype;  // torch_dtype / dtype, when it names a float type

  JsonFields fields() const { return JsonFields(text, source); }
};

// A directory with a config.json, or the file itself. Throws Error naming the file; weights
// quantized in some scheme are refused with its name.
HfConfig load_hf_config(const std::filesystem::path& directory);

// Adds the class defaults of transformers for fields that config.json leaves out.
void apply_defaults(HfConfig& config, const char* defaults_json);

// The fields that every decoder shares: sizes, norm, activation, rope, window.
ModelConfig read_common_config(const HfConfig& config);

// One set of rope parameters (rope_type, factor …) into `c`; `d` may be the whole config.
void read_rope_parameters(const JsonFields& d, const JsonFields& config, ModelConfig& c);

// "gelu_pytorch_tanh" → "gelu_tanh", "swish" → "silu" …; throws for unknown names.
std::string canonical_activation(const std::string& name, const std::string& source);

}  // namespace tokamak
