// A checkpoint → the same checkpoint with its linear weights in a weight-only format or in fp8.
#pragma once
#include <filesystem>
#include <map>

#include "quant/recipe.h"
#include "quant/report.h"

namespace tokamak {

struct QuantizeOptions {
  std::filesystem::path checkpoint_dir, output_dir;
  QuantRecipe recipe;
  int workers = 0;  // threads; 0: one per core, at most 8
  bool overwrite = false;
  std::string kv_cache_quant_algo = {};  // for config.json: "INT8", "FP8"; "": as it was
  std::map<std::string, double> activation_scales = {};  // likewise: QuantizationConfig's
};

// Every rank's file, piece by piece. Error for anything wrong; then nothing is left behind.
QuantReport quantize_checkpoint(const QuantizeOptions& options);

}  // namespace tokamak
