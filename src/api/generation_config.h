// generation_config.json → the defaults of sampling.
#pragma once
#include <filesystem>

#include "text/tokenizer.h"
#include "tokamak/sampling_params.h"

namespace tokamak {

// As Hugging Face reads it: greedy unless do_sample is true. Without the file: greedy, and the
// tokenizer's end of sequence. tokenizer may be null. Error names the file and the field.
SamplingParams read_generation_config(const std::filesystem::path& directory,
                                      const Tokenizer* tokenizer);

}  // namespace tokamak
