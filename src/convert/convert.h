// A published model → a checkpoint. Everything that can be refused is refused before any work; then
// tensors stream through in small pieces, whatever the model's size.
#pragma once
#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include "quant/recipe.h"
#include "quant/report.h"

namespace tokamak {

struct ConvertOptions {
  std::filesystem::path model;  // a Hugging Face directory, a .gguf file, or a directory with one
  std::filesystem::path output_dir;
  std::string dtype = "auto";  // of plain weights: auto|float32|float16|bfloat16
  int tp_size = 1, pp_size = 1;
  int workers = 0;                     // threads; 0: one per core, at most 8
  std::optional<bool> keep_quantized;  // GGUF blocks stay as they are; default: yes with dtype auto
  std::string kv_cache_quant_algo;     // for config.json: what builds keep the KV cache in; or ""
  std::map<std::string, double> activation_scales;  // likewise: of FP8, with quant
  QuantRecipe quant;  // weight-only quantization on the way; default: none
  bool overwrite = false;
};

// Throws Error for anything wrong with the model or the options; then nothing is left behind. The
// report tells what options.quant changed.
QuantReport convert(const ConvertOptions& options);

}  // namespace tokamak
